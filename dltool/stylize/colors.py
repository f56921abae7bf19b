"""Closed-form colour transfer: the start from which the optimization needs the fewest steps, and colours kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dltool.images.tensors import luma

_CHUNK = 1 << 20


@dataclass(frozen=True)
class ColorStatistics:
    """Mean (3) and covariance (3 × 3) of an image's colours, in float64."""

    mean: Tensor
    covariance: Tensor


def transfer_colors(content: Tensor, style: Tensor) -> Tensor:
    """Give `content` the colour distribution of `style`, taken as Gaussians in RGB.

    Args:
        content, style: 1 × 3 × H × W in [0, 1], of any two sizes.

    Returns:
        An image like `content`, clamped to [0, 1]. Content of one flat colour becomes the style's mean colour.
    """
    return move_colors(content, color_statistics(content), color_statistics(style))


def move_colors(image: Tensor, source: ColorStatistics, target: ColorStatistics) -> Tensor:
    """Move colours with statistics `source` to `target`, clamped to [0, 1].

    The map is the linear one of least motion between the two (Monge-Kantorovich; Pitié & Kokaram 2007):
    x ↦ μt + A (x - μs) with A = Σs^-½ (Σs^½ Σt Σs^½)^½ Σs^-½.
    """
    matrix, offset = color_map(source, target)
    colors = image.flatten(2).squeeze(0)
    moved = torch.empty_like(colors)
    for start in range(0, colors.shape[1], _CHUNK):  # in float64, but never the whole of a large image
        part = slice(start, start + _CHUNK)
        moved[:, part] = (matrix @ colors[:, part].double() + offset[:, None]).clamp(0, 1).to(image.dtype)
    return moved.view_as(image)


def color_map(source: ColorStatistics, target: ColorStatistics) -> tuple[Tensor, Tensor]:
    """The map of `move_colors`: a matrix, 3 × 3, and what is added after it, 3; in float64."""
    root = _symmetric_power(source.covariance, 0.5)
    inverse_root = _symmetric_power(source.covariance, -0.5)
    matrix = inverse_root @ _symmetric_power(root @ target.covariance @ root, 0.5) @ inverse_root
    return matrix, target.mean - matrix @ source.mean


def apply_colors(images: Tensor, maps: Tensor) -> Tensor:
    """Move the colours of N × 3 × H × W images, each by a map, N × 3 × 4 (matrix, offset); clamped to [0, 1]."""
    moved = (maps[:, :, :3] @ images.flatten(2) + maps[:, :, 3:]).clamp_(0, 1)
    return moved.view_as(images)


def color_statistics(image: Tensor, mask: Tensor | None = None) -> ColorStatistics:
    """Statistics of a 1 × 3 × H × W image's colours; a 1 × 1 × H × W `mask` weighs the positions."""
    colors = image.flatten(2).squeeze(0)
    weights = None if mask is None else mask.flatten()
    total = 0.0
    first = torch.zeros(3, dtype=torch.float64, device=image.device)
    second = torch.zeros(3, 3, dtype=torch.float64, device=image.device)
    for start in range(0, colors.shape[1], _CHUNK):
        part = colors[:, start : start + _CHUNK].double()
        weighted = part if weights is None else part * weights[start : start + _CHUNK].double()
        total += part.shape[1] if weights is None else weights[start : start + _CHUNK].double().sum().item()
        first += weighted.sum(1)
        second += weighted @ part.T
    if total <= 0:
        return color_statistics(image)
    mean = first / total
    # The ridge keeps flat and grey images, whose covariance is singular, from being amplified without bound.
    ridge = 1e-5 * torch.eye(3, dtype=torch.float64, device=image.device)
    return ColorStatistics(mean, second / total - mean[:, None] * mean + ridge)


def mix_statistics(parts: Sequence[tuple[ColorStatistics, float]]) -> ColorStatistics:
    """Statistics of images put side by side, each with its share; the shares need not add up to 1."""
    total = sum(share for _, share in parts)
    mean = sum(share / total * part.mean for part, share in parts)
    covariance = sum(
        share / total * (part.covariance + (part.mean - mean)[:, None] * (part.mean - mean)) for part, share in parts
    )
    return ColorStatistics(mean, covariance)


def luminance(image: Tensor) -> Tensor:
    """Return the Y of a 1 × 3 × H × W image, as a grey image of the same shape."""
    return luma(image).expand_as(image).contiguous()


def chroma(image: Tensor) -> Tensor:
    """Return what is left of N × 3 × H × W images without their luma, the same number for the three channels."""
    return image - luma(image)


def chroma_variation(image: Tensor, opacity: Tensor | None = None) -> float:
    """Mean squared difference of the chroma of neighbouring pixels, down and across, of a 1 × 3 × H × W image.

    `opacity`, 1 × 1 × H × W, says how much each pixel counts.
    """
    colors = chroma(image)
    counts = torch.ones_like(image[:, :1]) if opacity is None else opacity
    variation = 0.0
    for dim in (2, 3):
        squares = colors.diff(dim=dim).square().mean(1, keepdim=True)
        length = squares.shape[dim]
        first, last = (counts.narrow(dim, start, length) for start in (0, counts.shape[dim] - length))
        both = torch.minimum(first, last)
        variation += ((squares * both).sum() / both.sum().clamp_min(1e-6)).item()
    return variation


def with_luminance(colors: Tensor, painted: Tensor) -> Tensor:
    """Return the image with the chroma (Cb, Cr) of `colors` and the luminance of `painted`, clamped to [0, 1]."""
    return (colors + luminance(painted) - luminance(colors)).clamp(0, 1)


def _symmetric_power(matrix: Tensor, power: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.clamp_min(1e-12).pow(power)) @ vectors.T
