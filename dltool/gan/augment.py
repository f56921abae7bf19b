"""Differentiable augmentation of what the discriminator sees (Zhao et al., NeurIPS 2020): for sets of few images.

Real and generated images are varied alike, so the generator learns the images and not the variations, and the
discriminator cannot learn a few hundred images by heart.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_SHIFT = 1 / 8
_CUTOUT = 1 / 2


def differentiable_augment(images: Tensor) -> Tensor:
    """Vary N × C × H × W images in [-1, 1], each by its own draw from torch's generator: colour, shift, cutout."""
    return _cut_out(_shift(_recolour(images)))


def _uniform(images: Tensor, *shape: int) -> Tensor:
    return torch.rand(len(images), *shape, device=images.device, dtype=images.dtype)


def _recolour(images: Tensor) -> Tensor:
    """Brightness by up to ±0.5, saturation by a factor of up to 2, contrast by one between 0.5 and 1.5."""
    images = images + (_uniform(images, 1, 1, 1) - 0.5)
    if images.shape[1] > 1:
        grey = images.mean(1, keepdim=True)
        images = (images - grey) * (2 * _uniform(images, 1, 1, 1)) + grey
    middle = images.mean((1, 2, 3), keepdim=True)
    return (images - middle) * (_uniform(images, 1, 1, 1) + 0.5) + middle


def _shift(images: Tensor) -> Tensor:
    """Move by up to an eighth of the sides; what comes in from outside is as dark as -1."""
    sides = images.shape[-2:]
    down, right = (max(1, round(side * _SHIFT)) for side in sides)
    drawn = _uniform(images, 2)
    # Numbers, not a tensor of them: that would be a copy to the device, which is waited for.
    lower, further = ((drawn[:, axis, None] * (2 * most + 1)).floor().long() for axis, most in ((0, down), (1, right)))
    rows = (torch.arange(sides[0], device=images.device) + lower).view(-1, 1, sides[0], 1)
    columns = (torch.arange(sides[1], device=images.device) + further).view(-1, 1, 1, sides[1])
    padded = F.pad(images, [right, right, down, down], value=-1.0)
    padded = padded.gather(2, rows.expand(-1, images.shape[1], -1, padded.shape[3]))
    return padded.gather(3, columns.expand(-1, images.shape[1], sides[0], -1))


def _cut_out(images: Tensor) -> Tensor:
    """Set a rectangle of half the sides, anywhere and perhaps partly outside, to 0."""
    drawn = _uniform(images, 2)
    inside = []
    for axis, side in enumerate(images.shape[-2:]):
        width = round(side * _CUTOUT)
        centre = torch.floor(drawn[:, axis, None] * (side + 1))
        places = torch.arange(side, device=images.device) - centre + width // 2
        inside.append((places >= 0) & (places < width))
    hole = inside[0][:, :, None] & inside[1][:, None, :]
    return images * ~hole[:, None]
