"""A trained autoencoder in memory and as a model file."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dltool.autoencoder import anomaly, codes
from dltool.autoencoder.anomaly import NormalImages
from dltool.autoencoder.codes import CodeMixture
from dltool.autoencoder.networks import create_autoencoder
from dltool.errors import ModelError
from dltool.training.model_file import ModelFile, load_model, model_path, restored_module

COMMAND = "ae"


@dataclass(frozen=True)
class TrainedAutoencoder:
    """A network with what is needed to build it again and to feed it.

    Attributes:
        arch, arguments: as `create_autoencoder` takes them.
        settings: of the run that made it (`as_plain`); `noise` says what it learnt to take away, `data` from which
            images and how many.
        metrics: on held-out images.
        normal: what the images of training look like, for telling others from them.
        codes: where those of a variational one lie; None: as the normal distribution has them.
    """

    module: nn.Module = field(repr=False)
    arch: str
    arguments: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    normal: NormalImages | None = field(default=None, repr=False)
    codes: CodeMixture | None = field(default=None, repr=False)

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colours."""
        return self.arguments["in_channels"]

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of its images; None if it takes any."""
        if "height" not in self.arguments:
            return None
        return self.arguments["height"], self.arguments["width"]

    def to_file(self, metrics: dict[str, Any], tensors: dict[str, torch.Tensor] | None = None) -> ModelFile:
        """What `save_model` writes; `tensors` instead of the module's own."""
        own = dict(self.module.state_dict()) if tensors is None else tensors
        own = own | anomaly.to_tensors(self.normal) | codes.to_tensors(self.codes)
        return ModelFile(COMMAND, self.arch, self.arguments, own, metrics=metrics, settings=self.settings)


def load_autoencoder(path: Path | str) -> TrainedAutoencoder:
    """Read a model that `dltool ae train` wrote, on the CPU in evaluation mode; a run folder stands for its best one.

    Raises:
        ModelError: missing, damaged, another command's, or not what it describes.
    """
    path = model_path(path)
    file = load_model(path, COMMAND)
    kept = anomaly.from_tensors(file.tensors), codes.from_tensors(file.tensors)
    if file.arguments.get("in_channels") not in (1, 3):
        raise ModelError(f"{path}: its description is damaged (in_channels)")
    with torch.random.fork_rng(devices=[]):  # its first weights are thrown away and must not cost the caller randomness
        build = partial(create_autoencoder, file.architecture, **file.arguments)
        module = restored_module(build, file.arguments, file.tensors, path)
    module.eval().requires_grad_(False)
    return TrainedAutoencoder(module, file.architecture, file.arguments, file.settings, file.metrics, *kept)


def take_over(module: nn.Module, path: Path) -> None:
    """Give a network the weights of a trained one, wherever name and shape agree.

    Residual blocks of a U-Net that the other lacks become identities, so that a larger one begins where the smaller
    one ended.

    Raises:
        ModelError: no autoencoder, or none of its tensors fits.
    """
    known = load_autoencoder(path).module.state_dict()
    tensors = module.state_dict()
    fitting = {name for name in tensors if name in known and known[name].shape == tensors[name].shape}
    if not fitting:
        raise ModelError(f"--from {path}: none of its tensors fits this network")
    for name, tensor in tensors.items():
        if name in fitting:
            tensor.copy_(known[name])
        elif name.endswith("conv2.weight"):
            tensor.zero_()
