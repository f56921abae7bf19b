"""From features to what k-means compares: centred, projected on principal components, scaled to length 1."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dltool.cluster.distances import Rows, mean_row, pieces
from dltool.errors import SettingsError

_CHUNK = 4096


@dataclass(frozen=True)
class Transform:
    """(x - mean) · components, then divided by its length; each step where it is wanted.

    Attributes:
        mean: D float32, subtracted; None leaves rows where they are.
        components: D × P float32, orthonormal columns.
        normalize: scale rows to length 1; a row of zeros stays one.
    """

    mean: Tensor | None = None
    components: Tensor | None = None
    normalize: bool = False

    @property
    def is_identity(self) -> bool:
        """Whether rows stay as they are."""
        return self.mean is None and not self.normalize

    def __call__(self, rows: Rows) -> np.ndarray:
        """Return N × P float32 of N × D rows."""
        parts = [self._apply(piece).numpy() for _, piece in pieces(rows, _CHUNK, torch.device("cpu"))]
        return np.concatenate(parts)

    def _apply(self, piece: Tensor) -> Tensor:
        if self.mean is not None:
            piece = piece - self.mean
        if self.components is not None:
            piece = piece @ self.components
        return torch.nn.functional.normalize(piece) if self.normalize else piece

    def tensors(self) -> dict[str, Tensor]:
        """What a model file keeps of it."""
        own = {"transform.mean": self.mean, "transform.components": self.components}
        return {name: tensor for name, tensor in own.items() if tensor is not None}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], normalize: bool) -> "Transform":
        """The transform that `tensors` were taken from."""
        return cls(tensors.get("transform.mean"), tensors.get("transform.components"), normalize)


def fit_transform(rows: Rows, pca: int, normalize: bool) -> Transform:
    """Measure a Transform on N × D rows: centred where angles are compared or components kept.

    Angles are taken around the rows' mean, as features of one network all point much the same way from zero.

    Raises:
        SettingsError: more components than the rows have.
    """
    if not pca and not normalize:
        return Transform()
    mean, _ = mean_row(rows, torch.device("cpu"))
    components = principal_components(rows, mean, pca) if pca else None
    return Transform(mean, components, normalize)


def principal_components(rows: Rows, mean: Tensor, count: int) -> Tensor:
    """The `count` directions of largest variance, D × count float32, from the covariance matrix in float64.

    Each is turned so that its largest entry is positive, as directions have no sign of their own.

    Raises:
        SettingsError: more than there are columns, or rows.
    """
    most = min(len(rows), rows.shape[1])
    if count > most:
        raise SettingsError(f"--pca {count}: these {len(rows)} rows of {rows.shape[1]} numbers have {most} at most")
    if len(rows) <= rows.shape[1]:
        centered = torch.cat([piece.double() - mean for _, piece in pieces(rows, _CHUNK, torch.device("cpu"))])
        vectors = torch.linalg.svd(centered, full_matrices=False).Vh[:count].T
    else:
        covariance = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
        for _, piece in pieces(rows, _CHUNK, torch.device("cpu")):
            centered = piece.double() - mean
            covariance += centered.T @ centered
        vectors = torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, :count]
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    return (vectors * largest.sign()).float().contiguous()
