"""Features of small images that need no training: where edges run, and which way."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ORIENTATIONS = 12
COMPONENTS = 80
# How narrow a direction is: cos^12 has fallen to a half 19 degrees from it, so that neighbouring ones overlap.
_SHARPNESS = 12
_POWER = 0.7
_SIDE, _LEAST_SIDE, _MOST_SIDE = 28, 24, 40


def gradient_features(images: Tensor) -> Tensor:
    """Histograms of oriented gradients (Dalal and Triggs, 2005), soft in direction and in place.

    Edges keep their sign, so that a bright stroke has two sides; of colours the channel of the steepest edge counts.
    Energies in cells of about 4 pixels are divided by the image's whole (light and contrast no longer count) and
    raised to a power below 1, so that faint edges are not outshone.

    Args:
        images: N × C × H × W in [0, 1]; sides below 24 or above 40 pixels are first scaled to 28.

    Returns:
        N × D float32, D = 768 for 28 × 28 pixels.
    """
    if min(images.shape[2:]) < _LEAST_SIDE or max(images.shape[2:]) > _MOST_SIDE:
        images = F.interpolate(images, (_SIDE, _SIDE), mode="bilinear", antialias=True)
    across, down = _steepest(_blur(F.pad(images, (2, 2, 2, 2), mode="replicate")))
    strength = (across.square() + down.square() + 1e-8).sqrt()
    directions = []
    for number in range(ORIENTATIONS):
        angle = 2 * math.pi * number / ORIENTATIONS
        along = (math.cos(angle) * across + math.sin(angle) * down) / strength
        directions.append(along.clamp_min(0).pow(_SHARPNESS) * strength)
    cells = F.avg_pool2d(F.avg_pool2d(torch.cat(directions, 1), 4, 2, 1), 3, 2, 1).flatten(1)
    return (cells / (cells.norm(dim=1, keepdim=True) + 1e-3)).pow(_POWER)


def _blur(images: Tensor) -> Tensor:
    """Binomial smoothing by 1, 2, 1 in both directions."""
    channels = images.shape[1]
    kernel = torch.tensor([1.0, 2.0, 1.0], device=images.device) / 4
    square = (kernel[:, None] * kernel).expand(channels, 1, 3, 3)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), square, groups=channels)


def _steepest(images: Tensor) -> tuple[Tensor, Tensor]:
    """Differences across and down, N × 1 × H × W each, of the channel where they are largest."""
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    chosen = (across.square() + down.square()).argmax(1, keepdim=True)
    return across.gather(1, chosen), down.gather(1, chosen)
