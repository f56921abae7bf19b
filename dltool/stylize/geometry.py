"""How features lie over pixels: strides and receptive fields, measured rather than derived from the architecture."""

import copy
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dltool.backbones.taps import Taps
from dltool.errors import SettingsError


@dataclass(frozen=True)
class Geometry:
    """Of the layers in use together.

    Attributes:
        strides: pixels from one feature to the next, by the layers' names.
        total_stride: the least common multiple of the strides.
        halo: how far a feature sees beyond its own place, in pixels, rounded up to whole total strides.
    """

    strides: dict[str, int]
    total_stride: int
    halo: int


def average_pools(module: nn.Module) -> nn.Module:
    """Return a copy of a network whose max poolings are averages over the same windows, padding left out."""
    changed = copy.deepcopy(module)
    for name, pool in list(changed.named_modules()):
        if isinstance(pool, nn.MaxPool2d):
            parent, _, leaf = name.rpartition(".")
            average = nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, count_include_pad=False)
            setattr(changed.get_submodule(parent), leaf, average)
    return changed


@torch.enable_grad()
def measure_geometry(module: nn.Module, layers: Mapping[str, str]) -> Geometry:
    """Measure strides and the receptive field of `layers` (name → module's name) of a network in eval mode.

    A copy of the network with nothing but positive weights lets no path cancel another one, and averages instead of
    maxima and no ceilings let every pixel of a window through; so the gradient of one feature is above zero exactly
    where it sees.

    Raises:
        SettingsError: a layer sees everything at once (squeeze and excitation, attention).
    """
    probe = _positive_copy(module)
    names = list(dict.fromkeys(layers.values()))
    for side in (512, 1024, 2048):
        image, maps = _low_image(probe, names, side)
        strides = {name: _stride(image, maps[layer]) for name, layer in layers.items()}
        reach = max(_reach(image, maps[layer], strides[name]) for name, layer in layers.items())
        if reach < side // 2 - 2 * max(strides.values()):
            total = math.lcm(*strides.values())
            return Geometry(strides, total, -(-reach // total) * total)
    raise SettingsError("this network's layers see the whole picture at once, so it cannot be cut into tiles")


def _low_image(probe: nn.Module, names: list[str], width: int) -> tuple[Tensor, dict[str, Tensor]]:
    """A low, wide image and its feature maps: kernels see as far down as they see sideways, and this one is quick."""
    for height in (64, 256):  # without padding some layers need the higher one
        image = torch.rand(1, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        image.requires_grad_()
        with suppress(RuntimeError), Taps(probe, names) as taps:
            maps = taps(image)
            if all(each.numel() for each in maps.values()):
                return image, maps
    raise SettingsError("this network's layers need larger pictures than tiles are, so it cannot be cut into tiles")


def _stride(image: Tensor, features: Tensor) -> int:
    """Pixels from where the middle feature begins to see to where the next one does.

    The quotient of the sizes is not it where convolutions without padding or rounded-up poolings change the map's.
    """
    width, column = features.shape[3], features.shape[3] // 2
    estimate = max(1, round(image.shape[3] / width))
    if image.shape[3] % width == 0 or width < 3:
        return estimate
    first, second = (_seen(image, features, place) for place in (column, column + 1))
    if first is None or second is None or first[0] == 0:
        return estimate  # it sees as far as the image's edge: a larger one will tell
    return second[0] - first[0]


def _reach(image: Tensor, features: Tensor, stride: int) -> int:
    """How many pixels to the side the middle feature sees beyond the `stride` pixels that are its own."""
    column = features.shape[3] // 2
    seen = _seen(image, features, column)
    if seen is None:
        return image.shape[-1]
    return max(0, column * stride - seen[0], seen[1] - (column + 1) * stride)


def _seen(image: Tensor, features: Tensor, column: int) -> tuple[int, int] | None:
    """The first column of pixels that a feature sees, and the one behind the last; None if it sees nothing."""
    middle = features[:, :, features.shape[2] // 2, column].sum()
    (gradient,) = torch.autograd.grad(middle, image, retain_graph=True)
    seen = (gradient.abs().sum((0, 1, 2)) > 0).nonzero().flatten()
    return (int(seen[0]), int(seen[-1]) + 1) if len(seen) else None


def _positive_copy(module: nn.Module) -> nn.Module:
    probe = average_pools(module).to("cpu", torch.float64, memory_format=torch.contiguous_format)
    with torch.no_grad():
        for layer in probe.modules():
            layer._forward_hooks.clear()  # taps of the original
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight.fill_(1 / layer.weight[0].numel())
                if layer.bias is not None:
                    layer.bias.zero_()
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_running_stats()
                nn.init.ones_(layer.weight)
                nn.init.zeros_(layer.bias)
        for name, layer in list(probe.named_modules()):
            parent, _, leaf = name.rpartition(".")
            if isinstance(layer, nn.LayerNorm):  # over the channels of each place, all of which are equal here
                setattr(probe.get_submodule(parent), leaf, nn.Identity())
            elif isinstance(layer, nn.Hardtanh):  # ReLU6 among them
                setattr(probe.get_submodule(parent), leaf, nn.ReLU())
    return probe.requires_grad_(False)
