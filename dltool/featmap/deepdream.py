"""Deep dream: a photo in which a layer sees more of what it already sees (Mordvintsev, Olah & Tyka, 2015)."""

from collections.abc import Generator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.backbones.taps import Taps
from dltool.featmap.network import Network, fits_size, frozen
from dltool.featmap.settings import DreamSettings

_OCTAVE = 1.4
_SMALLEST_SIDE = 64
_RATE = 0.008
_LARGEST_SHIFT = 16
# The gradient's coarse waves count as much as its fine ones, which alone would give grain instead of shapes.
_WAVES = (1.0, 0.5, 0.25)


@dataclass(frozen=True)
class DreamStep:
    """One step of gradient ascent, `step` of `steps` over all octaves; `energy` is the layer's mean square."""

    step: int
    steps: int
    energy: float


@dataclass(frozen=True)
class DreamResult:
    """The image, 1 × 3 × H × W in [0, 1] on the CPU, and the layer's mean square for the photo and for it."""

    image: Tensor
    first: float
    last: float


def dream(
    network: Network, image: Tensor, layer: str, settings: DreamSettings
) -> Generator[DreamStep, None, DreamResult]:
    """Yield a DreamStep for every step and return the DreamResult.

    From small to large, each size starts from the photo's and takes over what the smaller one has added. A step moves
    along the gradient of the layer's mean square, divided by its own mean size, of a randomly shifted image, so that
    no seams of the strides show.

    Args:
        image: 1 × 3 × H × W in [0, 1], of the result's size.
        layer: the module's name.

    Raises:
        SettingsError: the network takes images of one size only.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    image = image.to(network.device)
    sizes = octave_sizes(tuple(image.shape[2:]), settings.octaves)
    added = torch.zeros_like(_resize(image, sizes[0]))
    done, steps = 0, settings.steps * len(sizes)
    with frozen(network.module), fits_size(network), Taps(network.module, [layer]) as taps:
        first = _energy(network, taps, image, layer)
        for size in sizes:
            photo = _resize(image, size)
            current = (photo + _resize(added, size)).clamp(0, 1)
            for _ in range(settings.steps):
                current, energy = _step(network, taps, current, layer, generator)
                done += 1
                yield DreamStep(done, steps, energy)
            added = current - photo
        last = _energy(network, taps, current, layer)
    return DreamResult(current.cpu(), first, last)


def octave_sizes(size: tuple[int, int], octaves: int) -> list[tuple[int, int]]:
    """Heights and widths from small to large, 1.4 times apart; those with a side below 64 pixels are left out."""
    shrunk = [(round(size[0] / _OCTAVE**level), round(size[1] / _OCTAVE**level)) for level in range(octaves - 1, 0, -1)]
    return [*(small for small in shrunk if min(small) >= _SMALLEST_SIDE), size]


def _step(network: Network, taps: Taps, image: Tensor, layer: str, generator: torch.Generator) -> tuple[Tensor, float]:
    shift = torch.randint(-_LARGEST_SHIFT, _LARGEST_SHIFT + 1, (2,), generator=generator).tolist()
    with torch.enable_grad():
        leaf = torch.roll(image, shift, (2, 3)).requires_grad_()
        energy = taps(network.preprocessing.normalize(leaf))[layer].square().mean()
        gradient = torch.autograd.grad(energy, leaf)[0]
    size = tuple(gradient.shape[2:])
    coarse = [_resize(gradient, tuple(max(1, round(share * side)) for side in size)) for share in _WAVES]
    smooth = torch.stack([_resize(part, size) / part.abs().mean().clamp_min(1e-12) for part in coarse]).mean(0)
    moved = leaf.detach() + _RATE * smooth / smooth.abs().mean().clamp_min(1e-12)
    return torch.roll(moved.clamp(0, 1), (-shift[0], -shift[1]), (2, 3)), energy.item()


def _energy(network: Network, taps: Taps, image: Tensor, layer: str) -> float:
    with torch.no_grad():
        return taps(network.preprocessing.normalize(image))[layer].square().mean().item()


def _resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(image.shape[2:]) == size:
        return image
    return F.interpolate(image, size, mode="bicubic", antialias=True, align_corners=False)
