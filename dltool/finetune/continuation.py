"""Going on from an own model: from its network, and from its head's rows for classes of the same name."""

from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dltool.backbones.registry import Backbone, create_backbone
from dltool.backbones.weights import load_matching
from dltool.data.splits import Dataset, read_splits_csv
from dltool.errors import DataError, ModelError, SettingsError
from dltool.files import write_atomically
from dltool.finetune.classifier_file import TrainedClassifier, load_classifier
from dltool.finetune.network import Standardize
from dltool.finetune.settings import SMALL_NETWORKS, FinetuneSettings, Fit
from dltool.tables import to_csv
from dltool.training.model_file import is_model_file

# The contents beside train that a run's model was trained on: by the model that it went on from, and of val.
TRAINED_BEFORE = "trained_before.csv"


@dataclass(frozen=True)
class Continuation:
    """The model that a run goes on from, and the contents that it was trained on, as far as its run's folder tells."""

    path: Path
    classifier: TrainedClassifier
    trained: Set[str] = frozenset()

    def backbone(self) -> Backbone:
        """Its network with a last layer that knows nothing."""
        name = self.classifier.arguments["backbone"]
        backbone = create_backbone(name, "none")
        tensors = self.classifier.module.body.state_dict()
        tensors = {key.removeprefix("network."): tensor for key, tensor in tensors.items()}
        match = load_matching(backbone.module, tensors, str(self.path))
        return replace(backbone, weights=str(self.path), missing=match.missing)

    def start(self, head: nn.Module, class_names: tuple[str, ...]) -> dict[str, Any]:
        """Copy into a new head the rows of the classes that the own model knows.

        A linear head's rows are turned from the own model's standardised features to those of the new head, which
        has measured its own. A head of another build, or on other features, stays as it is.

        Returns:
            For reports: the model, and names of the classes that were kept, that are new and that were dropped.
        """
        own = self.classifier.class_names
        rows = {name: own.index(name) for name in class_names if name in own}
        kept = list(rows) if _copy_rows(self.classifier.module.head, head, rows, class_names) else []
        return {
            "model": str(self.path),
            "kept": kept,
            "added": [name for name in class_names if name not in own],
            "dropped": [name for name in own if name not in class_names],
        }


def find_continuation(settings: FinetuneSettings) -> tuple[FinetuneSettings, Continuation | None]:
    """The own model that `--weights` names, if it names one, and the settings with its network filled in.

    Raises:
        ModelError: the folder holds no model, or the file is of another command; weights for a network that has none.
        SettingsError: another backbone is asked for.
    """
    path = Path(settings.weights)
    if settings.weights in ("default", "none") or not (path.is_dir() or is_model_file(path)):
        if settings.weights not in ("default", "none") and settings.backbone in SMALL_NETWORKS:
            raise ModelError(f"--weights {path}: no model of dltool, and {settings.backbone} goes on from nothing else")
        return settings, None
    classifier, file = load_classifier(path)
    arguments = classifier.arguments
    if settings.backbone not in ("", arguments["backbone"]):
        raise SettingsError(f"--backbone {settings.backbone}: {path} is a {arguments['backbone']}; leave it out")
    multiscale = bool(arguments.get("small")) if settings.multiscale is None else settings.multiscale
    size = settings.size or file.settings.get("size", 0)
    fit = Fit(classifier.preprocessing.fit) if settings.fit is Fit.AUTO else settings.fit
    settings = replace(settings, backbone=arguments["backbone"], size=size, multiscale=multiscale, fit=fit)
    return settings, Continuation(path, classifier, read_trained(path))


def describe_start(found: dict[str, Any]) -> str:
    """A line about what was made of an own model's classes."""
    parts = [f"{word}: {', '.join(found[name])}" for name, word in (("added", "new"), ("dropped", "dropped"))
             if found[name]]  # fmt: skip
    kept = f"its head for {', '.join(found['kept'])}" if found["kept"] else "a new head"
    return "; ".join([f"goes on from {found['model']} with {kept}", *parts])


def describe_trained(dataset: Dataset, continuation: Continuation | None) -> Iterator[str]:
    """A line for each split that holds images which the own model was trained on before."""
    for name in ("val", "test"):
        split = dataset.splits.get(name)
        if split is None or continuation is None:
            continue
        seen = sum(content in continuation.trained for content in split.hashes)
        if seen:
            yield (
                f"{seen} of the {len(split)} pictures of {name} were trained on before, so figures on them flatter; "
                f"--splits {run_of(continuation.path) / 'splits.csv'} divides as before, if the pictures are the same"
            )


def run_of(model: Path) -> Path:
    """The folder of the run that a model is of: the folder itself, or where a file or a checkpoint lies."""
    run = model if model.is_dir() else model.parent
    return run.parent if run.name == "checkpoints" else run


def read_trained(model: Path) -> frozenset[str]:
    """The contents that a model was trained on, also before its own run, as far as the run's folder tells.

    Raises:
        DataError: a file of the run is damaged.
    """
    run = run_of(model)
    own = read_splits_csv(run / "splits.csv") if (run / "splits.csv").is_file() else {}
    before = run / TRAINED_BEFORE
    try:
        earlier = before.read_text().split()[1:] if before.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{before}: is damaged; delete it to start anew") from error
    return frozenset([*earlier, *(content for content, name in own.items() if name == "train")])


def write_trained(run: Path, contents: Set[str]) -> None:
    """Keep in a run's folder what its model had been trained on before."""
    write_atomically(run / TRAINED_BEFORE, to_csv([("content",), *((content,) for content in sorted(contents))]))


@torch.no_grad()
def _copy_rows(own: nn.Module, new: nn.Module, rows: dict[str, int], class_names: tuple[str, ...]) -> bool:
    """Copy the rows of the last layer, and all that is before it; False where the two heads do not fit."""
    layers = [[m for m in head.modules() if isinstance(m, nn.Linear)] for head in (own, new)]
    if [each.in_features for each in layers[0]] != [each.in_features for each in layers[1]]:
        return False
    last, target = layers[0][-1], layers[1][-1]
    weight, bias = last.weight.to(target.weight.device), last.bias.to(target.weight.device)
    if len(layers[0]) > 1:  # what the first layer makes of features hangs on their standardisation
        name = next(name for name, module in new.named_modules() if module is target)
        new.load_state_dict({k: v for k, v in own.state_dict().items() if not k.startswith(f"{name}.")}, strict=False)
    elif isinstance(own, nn.Sequential) and isinstance(own[0], Standardize):
        own = own.to(weight.device)
        weight = weight / own[0].scale
        bias = bias - weight @ own[0].mean + weight @ new[0].mean
        weight = weight * new[0].scale
    for name, row in rows.items():
        index = class_names.index(name)
        target.weight[index], target.bias[index] = weight[row], bias[row]
    return True
