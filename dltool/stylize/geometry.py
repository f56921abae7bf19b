"""How features lie over pixels: strides and receptive fields, measured rather than derived from the architecture."""

import copy
import math
from collections.abc import Mapping
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
    maxima let every pixel of a window through; so the gradient of one feature is above zero exactly where it sees.

    Raises:
        SettingsError: a layer sees everything at once (squeeze and excitation, attention).
    """
    probe = _positive_copy(module)
    names = list(dict.fromkeys(layers.values()))
    for side in (512, 1024, 2048):
        # A low, wide picture: kernels see as far down as they see sideways, and this one is quick.
        image = torch.rand(1, 3, 64, side, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        image.requires_grad_()
        with Taps(probe, names) as taps:
            maps = taps(image)
        strides = {name: max(1, round(side / maps[layer].shape[-1])) for name, layer in layers.items()}
        reach = max(_reach(image, maps[layer], strides[name]) for name, layer in layers.items())
        if reach < side // 2 - 2 * max(strides.values()):
            total = math.lcm(*strides.values())
            return Geometry(strides, total, -(-reach // total) * total)
    raise SettingsError("this network's layers see the whole picture at once, so it cannot be cut into tiles")


def _reach(image: Tensor, features: Tensor, stride: int) -> int:
    """How many pixels to the side the middle feature sees beyond the `stride` pixels that are its own."""
    row, column = features.shape[2] // 2, features.shape[3] // 2
    (gradient,) = torch.autograd.grad(features[..., row, column].sum(), image, retain_graph=True)
    seen = (gradient.abs().sum((0, 1, 2)) > 0).nonzero().flatten()
    if not len(seen):
        return image.shape[-1]
    return max(0, column * stride - int(seen[0]), int(seen[-1]) + 1 - (column + 1) * stride)


def _positive_copy(module: nn.Module) -> nn.Module:
    probe = average_pools(module).to("cpu", torch.float64, memory_format=torch.contiguous_format)
    with torch.no_grad():
        for layer in probe.modules():
            layer._forward_hooks.clear()  # taps of the original
            if isinstance(layer, nn.Conv2d | nn.Linear):
                # Averages: activations stay within [0, 1], below the ceiling of a ReLU6.
                layer.weight.fill_(1 / layer.weight[0].numel())
                if layer.bias is not None:
                    layer.bias.zero_()
            elif isinstance(layer, nn.BatchNorm2d):
                layer.reset_running_stats()
                nn.init.ones_(layer.weight)
                nn.init.zeros_(layer.bias)
    return probe.requires_grad_(False)
