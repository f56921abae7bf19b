"""A trained generator with all that drawing from it needs, in memory and as a model file."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dltool.errors import ModelError, SettingsError
from dltool.gan.networks import Generator, build_generator
from dltool.gan.settings import NetworkSpec
from dltool.training.model_file import ModelFile, load_model, model_path, restored_module


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator in evaluation mode, and the names of its classes if it is conditional.

    Attributes:
        metrics, settings: of the run that made it.
        place: makes what the module takes of N × latent_dim normal noise; a walk is then between such places.
    """

    module: Generator
    class_names: tuple[str, ...]
    metrics: dict[str, Any]
    settings: dict[str, Any]
    place: Callable[[Tensor], Tensor] = lambda noise: noise

    @property
    def spec(self) -> NetworkSpec:
        """What the module was built from."""
        return self.module.spec

    def to_file(self) -> ModelFile:
        """The model file's content."""
        return ModelFile(
            command="gan",
            architecture=self.spec.arch.value,
            arguments=asdict(replace(self.spec)) | {"arch": self.spec.arch.value},
            tensors=self.module.state_dict(),
            class_names=self.class_names,
            metrics=self.metrics,
            settings=self.settings,
        )


def load_generator(path: Path | str, device: torch.device | str = "cpu") -> TrainedGenerator:
    """Read a generator that `dltool gan train` wrote; a run folder stands for its best snapshot.

    Raises:
        ModelError: missing, damaged, or no generator.
    """
    path = model_path(path)
    file = load_model(path, "gan")
    try:
        build = partial(build_generator, NetworkSpec(**file.arguments))
        with torch.random.fork_rng(devices=[]):
            module = restored_module(build, file.arguments, file.tensors, path)
    except (TypeError, ValueError, SettingsError) as error:
        raise ModelError(f"{path}: describes no generator that this version builds ({error})") from error
    module = module.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    return TrainedGenerator(module, file.class_names, file.metrics, file.settings)
