"""Closed-form colour transfer: the start from which the optimization needs the fewest steps."""

import torch
from torch import Tensor


def transfer_colors(content: Tensor, style: Tensor) -> Tensor:
    """Give `content` the colour distribution of `style`, taken as Gaussians in RGB.

    The map is the linear one of least motion between the two (Monge-Kantorovich; Pitié & Kokaram 2007):
    x ↦ μs + A (x - μc) with A = Σc^-½ (Σc^½ Σs Σc^½)^½ Σc^-½.

    Args:
        content, style: 1 × 3 × H × W in [0, 1], of any two sizes.

    Returns:
        A picture like `content`, clamped to [0, 1]. Content of one flat colour becomes the style's mean colour.
    """
    mean_content, covariance_content = _color_statistics(content)
    mean_style, covariance_style = _color_statistics(style)
    root = _symmetric_power(covariance_content, 0.5)
    inverse_root = _symmetric_power(covariance_content, -0.5)
    matrix = inverse_root @ _symmetric_power(root @ covariance_style @ root, 0.5) @ inverse_root
    colors = content.double().flatten(2).squeeze(0) - mean_content[:, None]
    moved = matrix @ colors + mean_style[:, None]
    return moved.view_as(content).clamp(0, 1).to(content.dtype)


def _color_statistics(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (3) and covariance (3 × 3) of a picture's colours, in float64 on the CPU or the picture's device."""
    colors = image.double().flatten(2).squeeze(0)
    mean = colors.mean(1)
    centred = colors - mean[:, None]
    # The ridge keeps flat and grey pictures, whose covariance is singular, from being amplified without bound.
    ridge = 1e-5 * torch.eye(3, dtype=colors.dtype, device=colors.device)
    return mean, centred @ centred.T / colors.shape[1] + ridge


def _symmetric_power(matrix: Tensor, power: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.clamp_min(1e-12).pow(power)) @ vectors.T
