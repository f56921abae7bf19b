"""How near one image is to another: PSNR and SSIM."""

import torch
import torch.nn.functional as F
from torch import Tensor

_SIGMA, _RADIUS = 1.5, 5
_C1, _C2 = 0.01**2, 0.03**2


def psnr(images: Tensor, references: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each of N × C × H × W images in [0, 1]; equal ones give infinity."""
    error = (images - references).square().flatten(1).mean(1)
    return -10 * error.log10()


def ssim(images: Tensor, references: Tensor) -> Tensor:
    """Structural similarity in [-1, 1] of each of N × C × H × W images in [0, 1], the mean over its channels.

    The formula and constants of Wang et al. 2004: Gaussian windows of 11 × 11 pixels, sigma 1.5, those that lie wholly
    in the image (smaller images are mirrored beyond their border).
    """
    x, y = images, references
    small = min(x.shape[-2:]) <= 2 * _RADIUS
    mean_x, mean_y = _smooth(x, small), _smooth(y, small)
    var_x = _smooth(x * x, small) - mean_x**2
    var_y = _smooth(y * y, small) - mean_y**2
    covariance = _smooth(x * y, small) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (var_x + var_y + _C2)
    return (luminance * structure).flatten(1).mean(1)


def _smooth(images: Tensor, mirrored: bool) -> Tensor:
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=images.dtype, device=images.device)
    window = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    window = window / window.sum()
    count, channels = images.shape[:2]
    flat = images.flatten(0, 1).unsqueeze(1)
    if mirrored:
        flat = _mirror(_mirror(flat, 2), 3)
    flat = F.conv2d(F.conv2d(flat, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return flat.view(count, channels, *flat.shape[-2:])


def _mirror(images: Tensor, dim: int) -> Tensor:
    """Add `_RADIUS` rows on both sides, the edge row repeated, whatever the size."""
    side = images.shape[dim]
    place = torch.arange(-_RADIUS, side + _RADIUS, device=images.device) % (2 * side)
    return images.index_select(dim, torch.minimum(place, 2 * side - 1 - place))
