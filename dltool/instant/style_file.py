"""Trained styles in memory and as model files, alone or blended, and those that come with dltool."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dltool.errors import ModelError, SettingsError
from dltool.images.read import fit_longest
from dltool.images.tensors import resize_pixels
from dltool.instant.network import StyleNetwork
from dltool.instant.settings import find_style
from dltool.stylize.colors import ColorStatistics, mix_statistics
from dltool.training.model_file import ModelFile, load_model, restored_module

COMMAND = "style"
_THUMBNAIL = 96


@dataclass(frozen=True)
class Painted:
    """What a model file says of a painting: its name, its colours, and a small JPEG of it in base64."""

    name: str
    colors: ColorStatistics
    thumbnail: str


@dataclass(frozen=True)
class TrainedStyle:
    """A network and the paintings that it knows, in its order; `weights` say how much of each is painted.

    Of every painting it has a style for each of `scales`, the sizes of the strokes.
    """

    network: StyleNetwork = field(repr=False)
    arguments: dict[str, Any]
    paintings: tuple[Painted, ...]
    weights: tuple[float, ...]
    scales: tuple[float, ...] = (1.0,)
    settings: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The names of its paintings."""
        return "+".join(painting.name for painting in self.paintings)

    @property
    def colors(self) -> ColorStatistics:
        """Colours of the blend."""
        parts = zip(self.paintings, self.weights, strict=True)
        return mix_statistics([(painting.colors, weight) for painting, weight in parts])

    def rows(self, painting: int) -> range:
        """The network's styles of the painting of that number, one for each of `scales`."""
        return range(painting * len(self.scales), (painting + 1) * len(self.scales))

    def scale_shares(self, scale: float) -> Tensor:
        """Shares of the styles of the two of `scales` next to a size of strokes, by its logarithm.

        Raises:
            SettingsError: strokes of that size were not learnt.
        """
        if not self.scales[0] <= scale <= self.scales[-1]:
            known = f"{self.scales[0]:g} to {self.scales[-1]:g}" if len(self.scales) > 1 else "1 alone"
            asked = f"--style-scale {scale:g}"
            raise SettingsError(f"{asked}: {self.name} has learnt {known}; see --scales of `dltool style train`")
        rows = np.eye(len(self.scales))
        shares = [np.interp(np.log(scale), np.log(self.scales), row) for row in rows]
        return torch.tensor(shares, dtype=torch.float32)

    def to_file(self, metrics: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> ModelFile:
        """What `save_model` writes, in half precision; `tensors` instead of the network's own."""
        known = dict(self.network.state_dict() if tensors is None else tensors)
        paintings = [_described(painting) for painting in self.paintings]
        arguments = self.arguments | {"paintings": paintings, "scales": list(self.scales)}
        halves = {name: tensor.half() for name, tensor in known.items()}
        return ModelFile(COMMAND, "style", arguments, halves, metrics=dict(metrics), settings=self.settings)

    def only(self, number: int) -> "TrainedStyle":
        """The same network for one of its paintings alone, which then can still be blended with the others."""
        arguments = self.arguments | {"styles": len(self.scales)}
        network = StyleNetwork(**arguments)
        tensors = self.network.state_dict()
        rows = list(self.rows(number))
        network.load_state_dict({name: tensors[name][rows] if _is_styles(name) else tensors[name] for name in tensors})
        return replace(self, network=network, arguments=arguments, paintings=(self.paintings[number],), weights=(1.0,))


def describe_painting(name: str, pixels: Any, colors: ColorStatistics) -> Painted:
    """What a model file keeps of a painting, H × W × 3 uint8."""
    size = fit_longest(pixels.shape[1::-1], _THUMBNAIL)
    buffer = io.BytesIO()
    Image.fromarray(resize_pixels(pixels, size)).save(buffer, "JPEG", quality=80)
    return Painted(name, colors, base64.b64encode(buffer.getvalue()).decode())


def load_style(path: Path | str) -> TrainedStyle:
    """Read what `dltool style train` wrote, on the CPU: a file, a run's folder, or the name of a shipped style.

    Raises:
        ModelError: missing, damaged, another command's, or not what it describes.
    """
    path = find_style(Path(path))
    file = load_model(path, COMMAND)
    arguments = dict(file.arguments)
    try:
        paintings = tuple(_painted(each) for each in arguments.pop("paintings"))
        scales = tuple(float(scale) for scale in arguments.pop("scales", (1.0,)))
        if not paintings or not scales or len(paintings) * len(scales) != arguments["styles"]:
            raise ValueError("paintings")
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{path}: its description is damaged (paintings)") from error
    tensors = {name: tensor.float() for name, tensor in file.tensors.items()}
    with torch.random.fork_rng(devices=[]):
        network = restored_module(lambda: StyleNetwork(**arguments), arguments, tensors, path)
    network.eval().requires_grad_(False)
    weights = (1.0,) * len(paintings)
    return TrainedStyle(network, arguments, paintings, weights, scales, file.settings, file.metrics)


def blend(styles: Sequence[tuple[TrainedStyle, float]]) -> TrainedStyle:
    """Styles that were learnt together as one, by weights.

    Raises:
        SettingsError: they were not learnt together, so that they have no network in common.
    """
    first, _ = styles[0]
    tensors = first.network.state_dict()
    for other, _ in styles[1:]:
        own = other.network.state_dict()
        shared = [name for name in tensors if not _is_styles(name)]
        if any(own[name].shape != tensors[name].shape or not own[name].equal(tensors[name]) for name in shared):
            raise SettingsError(
                f"--style: {first.name} and {other.name} are not of one training; "
                "`dltool style train` of both paintings makes files that can be blended"
            )
    paintings = tuple(painting for style, _ in styles for painting in style.paintings)
    weights = tuple(share * weight / sum(s.weights) for s, weight in styles for share in s.weights)
    arguments = first.arguments | {"styles": len(paintings) * len(first.scales)}
    network = StyleNetwork(**arguments)
    known = [style.network.state_dict() for style, _ in styles]
    network.load_state_dict(
        {name: torch.cat([each[name] for each in known]) if _is_styles(name) else tensors[name] for name in tensors}
    )
    network.eval().requires_grad_(False)
    return replace(first, network=network, arguments=arguments, paintings=paintings, weights=weights)


def _is_styles(name: str) -> bool:
    """Whether a tensor has a row for each style."""
    return name.endswith((".scale", ".shift"))


def _described(painting: Painted) -> dict[str, Any]:
    mean, covariance = painting.colors.mean.tolist(), painting.colors.covariance.tolist()
    return {"name": painting.name, "mean": mean, "covariance": covariance, "thumbnail": painting.thumbnail}


def _painted(described: Mapping[str, Any]) -> Painted:
    mean = torch.tensor(described["mean"], dtype=torch.float64)
    covariance = torch.tensor(described["covariance"], dtype=torch.float64)
    if mean.shape != (3,) or covariance.shape != (3, 3):
        raise ValueError("colours")
    return Painted(str(described["name"]), ColorStatistics(mean, covariance), str(described["thumbnail"]))
