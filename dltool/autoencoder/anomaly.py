"""How unlike the normal images of training an image is, and where.

An autoencoder's error alone says little: a code that is wide enough gives back what was never seen, and simple shapes
come back better than the normal ones. So an image is compared with those of training: by the directions of its edges,
place by place, and by how much lonelier it is among them than its neighbours are among theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from sklearn.neighbors import LocalOutlierFactor
from torch import Tensor

from dltool.images.tensors import LUMA

# Places across and down, and directions, of a descriptor.
_CELLS, _DIRECTIONS = 7, 8
_NEIGHBOURS = 10
_MOST_KEPT = 5000
_BATCH = 256
# One normal image in twenty lies above the threshold.
_NORMAL_SHARE = 0.95
_NORMAL_PIXELS = 0.99


@dataclass(frozen=True)
class NormalImages:
    """What normal images look like.

    Attributes:
        descriptors: N × D float16, of images that were trained on.
        threshold: score that 95 % of the held-out images lie below.
        pixel_error: that 99 % of their pixels lie below, squared, smoothed; where a heat map is red.
    """

    descriptors: Tensor
    threshold: float
    pixel_error: float

    @cached_property
    def _factor(self) -> LocalOutlierFactor:
        neighbours = min(_NEIGHBOURS, len(self.descriptors) - 1)
        return LocalOutlierFactor(n_neighbors=neighbours, novelty=True).fit(self.descriptors.float().numpy())

    def scores(self, images: Tensor) -> np.ndarray:
        """Local outlier factors (Breunig et al. 2000) of N × C × H × W images in [0, 1]: about 1 among normal ones."""
        parts = [-self._factor.score_samples(describe(part)) for part in images.split(_BATCH)]
        return np.concatenate(parts)

    def heat(self, original: Tensor, restored: Tensor) -> np.ndarray:
        """Where C × H × W images in [0, 1] differ: H × W in [0, 1], 1 from what few pixels of normal images reach."""
        return np.clip(pixel_errors(original[None], restored[None])[0] / self.pixel_error, 0, 1)


def learn_normal(train: Tensor, held_out: Tensor, restored: Tensor) -> NormalImages | None:
    """Keep what training images look like, and set the thresholds by held-out ones; None where there are too few.

    Args:
        train: N × C × H × W uint8, of which at most 5000 are kept, evenly.
        held_out, restored: M × C × H × W in [0, 1], and what the network gave back of them.
    """
    if len(train) < 3 or len(held_out) < 1:
        return None
    chosen = np.unique(np.linspace(0, len(train) - 1, min(len(train), _MOST_KEPT)).astype(int))
    parts = np.array_split(chosen, -(-len(chosen) // _BATCH))
    kept = np.concatenate([describe(train[torch.from_numpy(part)].float() / 255) for part in parts])
    normal = NormalImages(torch.from_numpy(kept).half(), 1.0, 1.0)
    threshold = float(np.quantile(normal.scores(held_out), _NORMAL_SHARE))
    error = float(np.quantile(pixel_errors(held_out, restored), _NORMAL_PIXELS))
    return NormalImages(normal.descriptors, threshold, max(error, 1e-6))


def describe(images: Tensor) -> np.ndarray:
    """Histograms of the edges' directions (Dalal and Triggs 2005) at 7 × 7 places that overlap, unit length each image.

    The root of each number is taken (Arandjelović and Zisserman 2012); contrast and brightness leave no trace.

    Args:
        images: N × C × H × W in [0, 1].

    Returns:
        N × 392 float32.
    """
    weights = torch.tensor(LUMA if images.shape[1] == 3 else (1.0,), dtype=torch.float32).view(1, -1, 1, 1)
    grey = (images.float().cpu() * weights).sum(1).numpy()
    sides = np.array(grey.shape[1:]) / _CELLS
    grey = gaussian_filter(grey, (0, *(sides / 6)))
    # A side of one pixel has no edges across it.
    down, across = (np.gradient(grey, axis=axis) if grey.shape[axis] > 1 else np.zeros_like(grey) for axis in (1, 2))
    strength = np.hypot(across, down)
    turn = np.arctan2(down, across) % (2 * np.pi) / (2 * np.pi) * _DIRECTIONS
    middles = [((np.arange(_CELLS) + 0.5) * side).astype(int) for side in sides]
    histograms = []
    for direction in range(_DIRECTIONS):
        away = np.abs(turn - direction)
        share = strength * np.clip(1 - np.minimum(away, _DIRECTIONS - away), 0, 1)
        pooled = gaussian_filter1d(gaussian_filter1d(share, sides[0] / 2, axis=1)[:, middles[0]], sides[1] / 2, axis=2)
        histograms.append(pooled[:, :, middles[1]])
    rooted = np.sqrt(np.stack(histograms, 1).reshape(len(grey), -1))
    return (rooted / np.maximum(np.linalg.norm(rooted, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def pixel_errors(original: Tensor, restored: Tensor) -> np.ndarray:
    """Squared differences of N × C × H × W images, mean over channels, smoothed by a twentieth of a side: N × H × W."""
    errors = (original.cpu() - restored.cpu()).square().mean(1).numpy()
    return gaussian_filter(errors, (0, errors.shape[1] / 20, errors.shape[2] / 20))


def to_tensors(normal: NormalImages | None) -> dict[str, Tensor]:
    """What a model file holds of it; `from_tensors` reads it back."""
    if normal is None:
        return {}
    numbers = torch.tensor([normal.threshold, normal.pixel_error], dtype=torch.float64)
    return {"normal.descriptors": normal.descriptors, "normal.numbers": numbers}


def from_tensors(tensors: dict[str, Tensor]) -> NormalImages | None:
    """Take out of a model file's tensors what `to_tensors` put in; None where there is no such thing."""
    descriptors, numbers = (tensors.pop(f"normal.{name}", None) for name in ("descriptors", "numbers"))
    shape = (_CELLS * _CELLS * _DIRECTIONS,)
    if descriptors is None or numbers is None or descriptors.shape[1:] != shape or numbers.shape != (2,):
        return None
    return NormalImages(descriptors, float(numbers[0]), float(numbers[1]))


def area_under_curve(scores: Sequence[float], abnormal: Sequence[bool]) -> float | None:
    """AUROC: how often an abnormal image scores above a normal one; None where there is but one kind."""
    from sklearn.metrics import roc_auc_score

    return None if len(set(abnormal)) < 2 else float(roc_auc_score(list(abnormal), list(scores)))
