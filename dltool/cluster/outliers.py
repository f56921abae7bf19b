"""Items that fit nowhere: far from every centre, in a group of their own."""

from dataclasses import replace

import numpy as np
import torch

from dltool.cluster.clustering import Clustering
from dltool.cluster.distances import Rows, find_nearest
from dltool.cluster.scores import take

# Of fewer items no group says how far away its own lie.
_FEWEST = 8
# Further than the upper quartile by three times what lies between the quartiles ("far out": Tukey, 1977).
_FAR = 3.0


def find_outliers(clustering: Clustering, share: float | None) -> np.ndarray:
    """Which of N items, as booleans, are far from their centre for their group.

    Args:
        share: so many of all items, those furthest away by their group's median distance; None: those beyond three
            times the quartiles' difference from the upper one, and groups of one item.
    """
    labels, distances = clustering.labels, clustering.distances.astype(np.float64)
    relative, far = np.zeros(len(labels)), np.zeros(len(labels), bool)
    for number in range(len(clustering.centers)):
        own = labels == number
        count = int(own.sum())
        if count < _FEWEST:
            relative[own] = np.inf if count == 1 else 0.0
            far[own] = count == 1
            continue
        low, middle, high = np.quantile(distances[own], (0.25, 0.5, 0.75))
        relative[own] = distances[own] / max(middle, 1e-30)
        far[own] = distances[own] > high + _FAR * (high - low)
    if share is not None:
        far = np.zeros(len(labels), bool)
        far[np.argsort(-relative, kind="stable")[: round(share * len(labels))]] = True
    return far if not far.all() else np.zeros(len(labels), bool)


def with_outliers(clustering: Clustering, rows: Rows, far: np.ndarray) -> Clustering:
    """Groups of the other items, and those that are `far` as one more, the last.

    Args:
        clustering: of the rows that are not far.
        rows: N × D, all of them, as `clustering.distances` are measured.
    """
    away = np.flatnonzero(far)
    outside = torch.from_numpy(np.ascontiguousarray(take(rows, away), np.float32))
    nearest = find_nearest(outside, clustering.centers, clustering.centers.mean(0), second=True)
    distances = nearest.squared.sqrt().numpy()
    found = {
        "labels": (clustering.labels, np.full(len(away), len(clustering.centers))),
        "distances": (clustering.distances, distances),
        "margins": (clustering.margins, nearest.second.sqrt().numpy() - distances),
    }
    merged = {}
    for name, (inner, outer) in found.items():
        merged[name] = np.empty(len(far), inner.dtype)
        merged[name][~far], merged[name][far] = inner, outer
    return replace(
        clustering,
        **merged,
        centers=torch.cat([clustering.centers, outside.mean(0, keepdim=True)]),
        embedding=np.asarray(rows),
        center_images=None,
        outliers=len(away),
    )
