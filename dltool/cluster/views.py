"""Random views of small images: the same thing, slightly turned, stretched, shifted, bent and lit otherwise."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.training.seeds import numpy_generator

# Largest changes at strength 1. Digits must not become other digits, nor shoes lie on their side.
_TURN = np.deg2rad(15)
_STRETCH, _SHEAR, _SHIFT = 0.15, 0.15, 0.09
_BEND, _BEND_GRID = 0.06, 5
_LIGHT = 0.2
_NUMBERS = 6


class Views:
    """The views of one epoch, drawn before it begins, so that each is a function of (seed, epoch, sample)."""

    def __init__(self, count: int, channels: int, strength: float, *parts: int | str) -> None:
        """Draw for `count` samples; `parts` seed the draw, epoch and all."""
        random = numpy_generator(*parts)
        self._strength = strength
        self._affine = torch.from_numpy(random.uniform(-1, 1, (count, _NUMBERS)).astype(np.float32))
        bends = random.standard_normal((count, 2, _BEND_GRID, _BEND_GRID), dtype=np.float32)
        self._bends = torch.from_numpy(bends)
        self._light = torch.from_numpy(random.uniform(-1, 1, (count, channels, 1, 1)).astype(np.float32))

    def __call__(self, images: Tensor, indices: Tensor) -> Tensor:
        """Return views of N × C × H × W images in [0, 1], which are the samples at `indices` (N, on the CPU)."""
        device, strength = images.device, self._strength
        turn, wide, high, shear, right, down = (strength * self._affine[indices]).to(device).unbind(1)
        cos, sin = torch.cos(_TURN * turn), torch.sin(_TURN * turn)
        wide, high = 1 + _STRETCH * wide, 1 + _STRETCH * high
        rows = [wide * cos, _SHEAR * shear - wide * sin, 2 * _SHIFT * right, high * sin, high * cos, 2 * _SHIFT * down]
        grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False)
        bends = (_BEND * strength * self._bends[indices]).to(device)
        bends = F.interpolate(bends, size=images.shape[-2:], mode="bicubic", align_corners=True)
        moved = _sampled(images, grid + bends.permute(0, 2, 3, 1))
        light = 1 + _LIGHT * strength * self._light[indices].to(device)
        return (moved * light).clamp_(0, 1)


def _sampled(images: Tensor, grid: Tensor) -> Tensor:
    """N × C × H × W images seen at N × H × W × 2 places from -1 to 1; beyond their border they go on as there."""
    if images.device.type != "mps":
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return sampled_within(images, grid)


def sampled_within(images: Tensor, grid: Tensor) -> Tensor:
    """The same where borders do not go on (MPS): places beyond the outermost pixels' middles become those."""
    sides = grid.new_tensor(images.shape[:1:-1])
    return F.grid_sample(images, grid.clamp(1 / sides - 1, 1 - 1 / sides), align_corners=False)
