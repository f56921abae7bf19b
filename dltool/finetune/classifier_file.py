"""A trained classifier with what it needs to answer: class names and preprocessing; to a model file and back."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dltool.backbones.preprocessing import Preprocessing
from dltool.data.splits import is_class_name
from dltool.errors import ModelError
from dltool.finetune.network import Classifier, build_classifier
from dltool.finetune.settings import SMALL_NETWORKS
from dltool.training.model_file import ModelFile, load_model, model_path, restored_module

COMMAND = "finetune"
_ARCHITECTURE = "classifier"


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier and its description; `arguments` build the module again (`build_classifier`).

    `precision` is the setting that it was trained with.
    """

    module: Classifier
    arguments: dict[str, Any]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    precision: str = "auto"

    @property
    def small(self) -> bool:
        """Whether it is one of the small networks, whose answers are not worth caching."""
        return self.arguments["backbone"] in SMALL_NETWORKS

    @property
    def in_channels(self) -> int:
        """1 for a network of grey images, else 3."""
        return self.arguments["in_channels"]

    def to_file(self, metrics: dict[str, Any], settings: dict[str, Any]) -> ModelFile:
        """Everything that `from_file` needs, and where it came from."""
        return ModelFile(
            command=COMMAND,
            architecture=_ARCHITECTURE,
            arguments=self.arguments,
            tensors=self.module.state_dict(),
            class_names=self.class_names,
            preprocessing=self.preprocessing,
            metrics=metrics,
            settings=settings,
        )


def load_classifier(path: Path | str) -> tuple[TrainedClassifier, ModelFile]:
    """Read a classifier in eval mode on the CPU; a run folder stands for its best model.

    Raises:
        ModelError: no such file, or not a model of `dltool finetune`; class names that do not fit its answers, or
            that are no names of folders.
    """
    path = model_path(path)
    file = load_model(path, COMMAND)
    if file.architecture != _ARCHITECTURE or file.preprocessing is None or not file.class_names:
        raise ModelError(f"{path}: not a classifier that this version knows ({file.architecture})")
    _check_class_names(file, path)
    try:
        build = partial(build_classifier, file.arguments)
        module = restored_module(build, file.arguments, file.tensors, path)
    except ModelError as error:
        raise error if str(error).startswith(f"{path}: ") else ModelError(f"{path}: {error}") from error
    precision = file.settings.get("precision", "auto")
    return TrainedClassifier(module.eval(), file.arguments, file.class_names, file.preprocessing, precision), file


def _check_class_names(file: ModelFile, path: Path) -> None:
    """Refuse names that would lead `predict --sort` elsewhere, and numbers of them that answers cannot have.

    A class of a folder in a folder is called `animals/cat`.
    """
    for name in file.class_names:
        if not is_class_name(name):
            raise ModelError(f"{path}: {name!r} cannot be a class's name: it is no name of a folder")
    if len(set(file.class_names)) != len(file.class_names):
        raise ModelError(f"{path}: two of its classes have the same name")
    if file.arguments.get("num_classes") != len(file.class_names):
        answers = file.arguments.get("num_classes")
        raise ModelError(f"{path}: damaged: {len(file.class_names)} class names for {answers} answers")
