"""A trained style as one module from image to image, colours and all, for programs that know nothing of dltool."""

import torch
from torch import Tensor, nn

from dltool.instant.network import STRIDE
from dltool.instant.painting import mixed
from dltool.instant.style_file import TrainedStyle

_ITERATIONS = 25
_RIDGE = 1e-5


class WholeStyle(nn.Module):
    """Paints N × 3 × H × W images in [0, 1] of any size; what `dltool.instant.painting.paint` does, at once."""

    def __init__(self, style: TrainedStyle) -> None:
        super().__init__()
        with_paint = mixed(style, False, torch.device("cpu"))
        self.network = with_paint.network
        (colors,) = with_paint.colors
        values, vectors = torch.linalg.eigh(colors.covariance)
        self.register_buffer("share", with_paint.shares)
        self.register_buffer("mean", colors.mean.view(1, 3, 1))
        self.register_buffer("root", vectors @ torch.diag(values.sqrt()) @ vectors.mT)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2], images.shape[3]
        moved = self._move_colors(images)
        for dim, length in ((2, height), (3, width)):
            whole = (length + STRIDE - 1) // STRIDE * STRIDE
            moved = moved.index_select(dim, torch.arange(whole).clamp(max=length - 1))
        painted = self.network(moved, self.share.expand(images.shape[0], -1))
        return painted[:, :, :height, :width].clamp(0, 1)

    def _move_colors(self, images: Tensor) -> Tensor:
        """What `apply_colors` does by `color_map`, in arithmetic that every runtime has.

        With the root R of the target's covariance that map's matrix is R (R Σ R)^-½ R as well.
        """
        colors = images.flatten(2).double()
        mean = colors.mean(2, keepdim=True)
        apart = colors - mean
        covariance = apart @ apart.transpose(1, 2) / apart.shape[2] + _RIDGE * torch.eye(3, dtype=torch.float64)
        matrix = self.root @ inverse_root(self.root @ covariance @ self.root) @ self.root
        return (matrix @ apart + self.mean).clamp(0, 1).float().view_as(images)


def inverse_root(matrices: Tensor) -> Tensor:
    """M^-½ of N × 3 × 3 positive definite matrices, by the coupled iteration of Denman & Beavers (1976)."""
    unit = torch.eye(3, dtype=matrices.dtype)
    scale = (matrices * unit).sum((1, 2), keepdim=True)
    root = matrices / scale
    inverse = unit.expand_as(root)
    for _ in range(_ITERATIONS):
        root, inverse = (root + _inverted(inverse)) / 2, (inverse + _inverted(root)) / 2
    return inverse / scale.sqrt()


def _inverted(matrices: Tensor) -> Tensor:
    """Inverses of N × 3 × 3 matrices, by their cofactors."""
    a, b, c = matrices.unbind(1)
    cofactors = torch.stack((_cross(b, c), _cross(c, a), _cross(a, b)), 2)
    return cofactors / (a * _cross(b, c)).sum(1).view(-1, 1, 1)


def _cross(one: Tensor, other: Tensor) -> Tensor:
    """Cross products of N × 3."""
    (x, y, z), (u, v, w) = one.unbind(1), other.unbind(1)
    return torch.stack((y * w - z * v, z * u - x * w, x * v - y * u), 1)
