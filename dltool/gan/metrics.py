"""How near generated images are to real ones, in anybody's features: Fréchet distance, KID, precision and recall."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dltool.errors import DataError
from dltool.training.seeds import new_generator

_ROWS = 2048
_SUBSET = 1000
_FEWEST_SUBSETS = 5


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of features, which is all that the Fréchet distance knows of them.

    Attributes:
        count: features that were seen.
        mean: D float64.
        covariance: D × D float64, divided by count - 1.
    """

    count: int
    mean: Tensor
    covariance: Tensor

    @property
    def dim(self) -> int:
        """D, the number of features."""
        return len(self.mean)


class RunningMoments:
    """Mean and covariance of features that arrive in batches, in float64 and never all in memory.

    Batches are merged with Chan, Golub and LeVeque's update ("Updating Formulae and a Pairwise Algorithm for Computing
    Sample Variances", 1979), which does not cancel as a sum of squares would.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean = torch.zeros(0, dtype=torch.float64)
        self._scatter = torch.zeros(0, 0, dtype=torch.float64)

    def update(self, features: Tensor) -> None:
        """Take in N × D features."""
        rows = features.double()
        if not len(rows):
            return
        if not self._count:
            self._mean = rows.new_zeros(rows.shape[1])
            self._scatter = rows.new_zeros(rows.shape[1], rows.shape[1])
        mean = rows.mean(0)
        centred = rows - mean
        shift = mean - self._mean
        total = self._count + len(rows)
        self._scatter += centred.T @ centred + torch.outer(shift, shift) * (self._count * len(rows) / total)
        self._mean = self._mean + shift * (len(rows) / total)
        self._count = total

    def finish(self) -> Moments:
        """Return what was seen so far.

        Raises:
            DataError: fewer than two features.
        """
        if self._count < 2:
            raise DataError(f"{self._count} pictures: a covariance needs at least 2")
        return Moments(self._count, self._mean.clone(), self._scatter / (self._count - 1))


def moments(features: Tensor) -> Moments:
    """Mean and covariance of N × D features.

    Raises:
        DataError: fewer than two features.
    """
    running = RunningMoments()
    for rows in features.split(_ROWS):
        running.update(rows)
    return running.finish()


def frechet_distance(first: Moments, second: Moments) -> float:
    """Fréchet distance of two Gaussians: |m1 - m2|² + tr C1 + tr C2 - 2 tr (C1 C2)^½ (Heusel et al. 2017).

    The last trace is the sum of the square roots of the eigenvalues of C1^½ C2 C1^½, which is symmetric and similar to
    C1 C2. So it is real whatever the rounding, which the square root of the product itself is not.
    """
    values, vectors = torch.linalg.eigh(first.covariance)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    product = root @ second.covariance @ root
    shared = torch.linalg.eigvalsh((product + product.T) / 2).clamp_min(0).sqrt().sum()
    shift = first.mean - second.mean
    distance = shift @ shift + first.covariance.trace() + second.covariance.trace() - 2 * shared
    return max(0.0, float(distance))


def too_few(first: Moments, second: Moments) -> str | None:
    """Why a Fréchet distance of these would say little, in words, or None.

    From no more images than dimensions comes a covariance that is flat in some of them, and a figure that depends on
    the number of images before all.
    """
    fewest = min(first.count, second.count)
    if fewest > first.dim:
        return None
    return f"{fewest} pictures on a side, but its {first.dim} features need at least {first.dim + 1}"


@dataclass(frozen=True)
class KernelDistance:
    """KID and the standard error of that mean over `subsets` disjoint subsets of `size` images of either side."""

    value: float
    error: float
    subsets: int
    size: int


def kernel_distance(first: Tensor, second: Tensor, seed: int = 0) -> KernelDistance:
    """Kernel inception distance of N × D and M × D features (Bińkowski et al. 2018): unbiased, so often below 0.

    The squared maximum mean discrepancy with the kernel (x·y / D + 1)³, as its mean over disjoint random subsets of at
    most 1000. Disjoint ones are independent, so that the error is that of the figure; subsets drawn with replacement
    from the same images, as is common, make it look smaller the more of them are drawn.

    Raises:
        DataError: fewer than ten images on a side.
    """
    fewest = min(len(first), len(second))
    size = min(_SUBSET, fewest // _FEWEST_SUBSETS)
    if size < 2:
        raise DataError(f"KID: {fewest} pictures; at least {2 * _FEWEST_SUBSETS} of either side are needed")
    subsets = fewest // size
    orders = [
        torch.randperm(len(side), generator=new_generator(seed, "kid", name)).to(side.device)
        for name, side in enumerate((first, second))
    ]
    values = []
    for start in range(0, subsets * size, size):
        x, y = (side[order[start : start + size]] for side, order in zip((first, second), orders, strict=True))
        values.append(_unbiased_mmd2(x, y))
    estimates = torch.tensor(values, dtype=torch.float64)
    return KernelDistance(float(estimates.mean()), float(estimates.std()) / subsets**0.5, subsets, size)


def _unbiased_mmd2(x: Tensor, y: Tensor) -> float:
    def kernel(a: Tensor, b: Tensor) -> Tensor:
        # In float64 from the product on: the three means nearly cancel.
        return ((a @ b.T).double() / a.shape[1] + 1) ** 3

    count = len(x)
    within = sum((k := kernel(side, side)).sum() - k.trace() for side in (x, y)) / (count * (count - 1))
    return float(within - 2 * kernel(x, y).mean())


def precision_recall(real: Tensor, generated: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """Improved precision and recall of M × D generated against N × D real features (Kynkäänniemi et al. 2019).

    Precision is the share of generated images that lie inside the real ones' manifold, the union of balls around
    real features that reach to the `neighbours`-th nearest other; recall the share of real images inside the
    generated ones'. Needs memory for blocks of rows, never for all pairs.

    Raises:
        DataError: no more images on a side than `neighbours`.
    """
    fewest = min(len(real), len(generated))
    if fewest <= neighbours:
        raise DataError(f"precision and recall: {fewest} pictures; more than {neighbours} of either side are needed")
    centre = real.mean(0)  # near the origin, |x|² + |y|² - 2xy loses fewest digits
    real, generated = real - centre, generated - centre
    real_radii, generated_radii = _radii(real, neighbours), _radii(generated, neighbours)
    inside_real = torch.zeros(len(generated), dtype=torch.bool, device=real.device)
    recalled = []
    for rows, radii in zip(real.split(_ROWS), real_radii.split(_ROWS), strict=True):
        distances = squared_distances(rows, generated)
        inside_real |= (distances <= radii[:, None]).any(0)
        recalled.append((distances <= generated_radii).any(1))
    return float(inside_real.double().mean()), float(torch.cat(recalled).double().mean())


def _radii(features: Tensor, neighbours: int) -> Tensor:
    """Squared distance of each feature to its `neighbours`-th nearest other."""
    parts = []
    for start in range(0, len(features), _ROWS):
        distances = squared_distances(features[start : start + _ROWS], features)
        own = torch.arange(start, start + len(distances), device=features.device)
        distances[torch.arange(len(distances), device=features.device), own] = torch.inf
        parts.append(distances.topk(neighbours, largest=False).values[:, -1])
    return torch.cat(parts)


def squared_distances(first: Tensor, second: Tensor) -> Tensor:
    """Squared Euclidean distances of N × D to M × D rows, N × M."""
    norms = first.square().sum(1)[:, None] + second.square().sum(1)
    return torch.addmm(norms, first, second.T, alpha=-2).clamp_min_(0)
