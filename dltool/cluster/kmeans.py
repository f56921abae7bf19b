"""k-means: Lloyd's algorithm from several starts, the best of which is kept."""

import warnings
from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dltool.cluster.clustering import Clustering, GroupingStep, GroupingTask
from dltool.cluster.distances import (
    NearestCenters,
    Rows,
    cluster_sums,
    exact_distances,
    find_nearest,
    mean_row,
    sum_type,
)
from dltool.cluster.initial_centers import random_centers, spread_centers, take_rows
from dltool.cluster.settings import Init
from dltool.events import finish

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

# scikit-learn's loop, up to 4 times faster on a CPU where rows are short, holds a copy of the rows.
_MOST_COPIED = 256 * 2**20
_PIECE = 50
_SMALL_WORK = 2e8


@dataclass(frozen=True)
class Lloyd:
    """Where one run of Lloyd's algorithm ended: k × D float32 centres, N int32 labels, and after how many iterations.

    `strict`: no label changed in the last iteration.
    """

    centers: Tensor
    labels: Tensor
    iterations: int
    strict: bool


def group_by_kmeans(task: GroupingTask) -> Generator[GroupingStep, None, Clustering]:
    """Group rows by k-means; see `GroupingTask` and `Clustering`."""
    settings, rows = task.settings, task.rows
    device = task.device
    if device.type != "cpu":
        rows = torch.from_numpy(np.asarray(rows[:], dtype=np.float32)).to(device)
    origin, variance = mean_row(rows, device)
    starts = settings.n_init or default_starts(rows.shape, task.k)
    best: tuple[float, Lloyd] | None = None
    for start in range(starts if task.k > 1 else 1):
        yield GroupingStep("k-means", start, starts, f"inertia {best[0]:.5g}" if best else "")
        seed = (settings.seed, "k-means", task.k, start)
        if settings.init is Init.RANDOM:
            centers = random_centers(rows, task.k, device, *seed)
        else:
            centers = spread_centers(rows, task.k, origin, device, *seed)
        run = lloyd(rows, centers, origin, settings.max_iter, settings.tol * variance)
        inertia = exact_distances(rows, run.labels, run.centers)[1]
        if best is None or inertia < best[0]:
            best = inertia, run
    assert best is not None
    run = best[1]
    nearest = find_nearest(rows, run.centers, origin, second=True)
    return build_clustering(rows, task.rows, run.centers, replace(nearest, labels=run.labels), run.iterations)


def starting_centers(task: GroupingTask, rows: np.ndarray) -> Tensor:
    """Where k-means on `rows` ends, k × D float32, for other methods to begin with."""
    return finish(group_by_kmeans(replace(task, rows=rows))).centers


def default_starts(shape: tuple[int, ...], k: int) -> int:
    """Ten starts where that is quick, else three."""
    return 10 if shape[0] * shape[1] * k <= _SMALL_WORK else 3


def build_clustering(
    rows: Rows, embedding: Rows, centers: Tensor, nearest: NearestCenters, iterations: int
) -> Clustering:
    """Exact distances, margins and inertia of rows that were assigned with their second nearest centres.

    `nearest` is used up: tables of many rows leave no room for copies.
    """
    assert nearest.second is not None
    distances, inertia = exact_distances(rows, nearest.labels, centers)
    distances.sqrt_()
    margins = nearest.second.sqrt_().sub_(distances).clamp_min_(0)
    return Clustering(
        labels=nearest.labels.cpu().numpy(),
        centers=centers.cpu(),
        distances=distances.cpu().numpy(),
        margins=margins.cpu().numpy(),
        embedding=embedding,
        inertia=inertia,
        iterations=iterations,
    )


def nearest_centers(rows: Rows, centers: torch.Tensor) -> Clustering:
    """The Clustering of rows by centres that stand fast."""
    nearest = find_nearest(rows, centers, centers.mean(0), second=True)
    return build_clustering(rows, rows, centers, nearest, 0)


def lloyd(rows: Rows, centers: Tensor, origin: Tensor, max_iter: int, tolerance: float) -> Lloyd:
    """Run Lloyd's algorithm from `centers` (k × D float32, on the device that shall compute) until it settles.

    On a CPU, for rows in memory, the loop is scikit-learn's; sums that its threads may have added in any order are
    then made again in a fixed one.

    Args:
        tolerance: it ends when the squared moves of all centres sum up to no more than this, or no label changes.
    """
    copyable = isinstance(rows, np.ndarray) and rows.dtype == np.float32 and rows.nbytes <= _MOST_COPIED
    if centers.device.type == "cpu" and copyable:
        return _settle(rows, lloyd_sklearn(rows, centers, max_iter, tolerance))
    return lloyd_torch(rows, centers, origin, max_iter, tolerance)


def lloyd_torch(
    rows: Rows, centers: Tensor, origin: Tensor, max_iter: int, tolerance: float, chunk: int | None = None
) -> Lloyd:
    """Lloyd's algorithm by matrix products in chunks, on any device; see `lloyd`."""
    k = len(centers)
    labels = torch.full((len(rows),), -1, dtype=torch.int32, device=centers.device)
    iterations, strict = 0, False
    while iterations < max_iter:
        iterations += 1
        nearest = find_nearest(rows, centers, origin, chunk)
        if centers.device.type == "cpu" and torch.equal(nearest.labels, labels):
            strict = True
            break
        sums, counts = cluster_sums(rows, nearest.labels, k)
        moved, shift = _move(centers, sums, counts)
        # All that the host decides by, in one go: it waits for a GPU once in an iteration.
        decisive = ((nearest.labels != labels).any(), (counts == 0).any(), shift)
        changed, empty, moves = torch.stack([each.to(shift.dtype) for each in decisive]).tolist()
        if not changed:
            strict = True
            break
        labels = nearest.labels
        if empty:
            _fill_empty(rows, sums, counts, labels, nearest.squared)
            moved, shift = _move(centers, sums, counts)
            moves = float(shift)
        centers = moved
        if moves <= tolerance and tolerance > 0:
            break
    if not strict:  # the labels are those of the last centres but one
        labels = find_nearest(rows, centers, origin, chunk).labels
    return Lloyd(centers, labels, iterations, strict)


def _move(centers: Tensor, sums: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The means of the clusters, and the sum of the squared moves to them."""
    moved = (sums / counts[:, None].clamp_min(1)).float()
    return moved, (moved - centers).to(sum_type(centers.device)).square().sum()


def lloyd_sklearn(rows: np.ndarray, centers: Tensor, max_iter: int, tolerance: float) -> Lloyd:
    """The same on a CPU by scikit-learn's loop, which fuses distances and sums."""
    from sklearn.cluster import KMeans

    # scikit-learn's tolerance is relative to the mean variance, which it computes in float32.
    relative = tolerance / max(float(np.var(rows, axis=0).mean()), 1e-30) if tolerance else 0.0
    done, current = 0, centers.numpy()
    while True:
        steps = min(_PIECE, max_iter - done)
        run = _quiet_fit(KMeans(len(centers), init=current, n_init=1, max_iter=steps, tol=relative), rows)
        done += run.n_iter_
        current = run.cluster_centers_
        if run.n_iter_ < steps or done >= max_iter:
            break
    labels = torch.from_numpy(run.labels_.astype(np.int32))
    return Lloyd(torch.from_numpy(np.ascontiguousarray(current)), labels, done, run.n_iter_ < steps)


def _quiet_fit(estimator: "KMeans", rows: np.ndarray) -> "KMeans":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about fewer different rows than clusters, which the report says itself
        return estimator.fit(rows)


def _settle(rows: np.ndarray, run: Lloyd) -> Lloyd:
    """Make the centres of a run that ended strictly anew from its labels, in sums of a fixed order."""
    if not run.strict:
        return run
    sums, counts = cluster_sums(rows, run.labels, len(run.centers))
    means = (sums / counts[:, None].clamp_min(1)).float()
    return replace(run, centers=torch.where(counts[:, None] > 0, means, run.centers))


def _fill_empty(rows: Rows, sums: Tensor, counts: Tensor, labels: Tensor, squared: Tensor) -> None:
    """Move each empty cluster, in place, to a row of its own: those furthest from their centres."""
    empty = torch.nonzero(counts == 0)[:, 0].tolist()
    if not empty:
        return
    furthest = squared.topk(min(len(empty), len(squared))).indices.tolist()
    for cluster, index in zip(empty, furthest, strict=False):
        row = take_rows(rows, [index], sums.device)[0].to(sums.dtype)
        home = int(labels[index])
        sums[home] -= row
        counts[home] -= 1
        sums[cluster] = row
        counts[cluster] = 1
