"""How good groups are: against known classes, and without them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from dltool.cluster.distances import Rows
from dltool.training.seeds import numpy_generator

SILHOUETTE_ROWS = 2000


@dataclass(frozen=True)
class Agreement:
    """Clusters against classes.

    Attributes:
        accuracy: share of items whose cluster's class, by the best one-to-one matching, is their own.
        purity: share of items whose cluster's most frequent class is their own.
        nmi, ari: normalised mutual information; adjusted Rand index.
        matching: class of each cluster by that matching; -1 where no item of the class is in it, or no class is left.
        table: k × classes counts.
    """

    accuracy: float
    purity: float
    nmi: float
    ari: float
    matching: tuple[int, ...]
    table: tuple[tuple[int, ...], ...]


def compare_with_classes(labels: np.ndarray, classes: np.ndarray, k: int, num_classes: int) -> Agreement:
    """Score N cluster numbers against N class numbers; the matching is Kuhn's (the Hungarian method)."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    table = np.zeros((k, num_classes), np.int64)
    np.add.at(table, (labels, classes), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    matching = np.full(k, -1)
    matching[rows] = np.where(table[rows, columns] > 0, columns, -1)
    return Agreement(
        accuracy=float(table[rows, columns].sum() / len(labels)),
        purity=float(table.max(1).sum() / len(labels)),
        nmi=float(normalized_mutual_info_score(classes, labels)),
        ari=float(adjusted_rand_score(classes, labels)),
        matching=tuple(matching.tolist()),
        table=tuple(tuple(row) for row in table.tolist()),
    )


def silhouette(rows: Rows, labels: np.ndarray, seed: int, most: int = SILHOUETTE_ROWS) -> tuple[float | None, int]:
    """Mean silhouette (Rousseeuw, 1987) in [-1, 1] of at most `most` rows drawn at random, and of how many it is.

    None where the rows drawn lie in one cluster, or each in its own.
    """
    from sklearn.metrics import silhouette_score

    chosen = sample_indices(len(labels), most, seed)
    own = labels[chosen]
    if not 1 < len(np.unique(own)) < len(own):
        return None, len(chosen)
    return float(silhouette_score(take(rows, chosen), own)), len(chosen)


def sample_indices(count: int, most: int, seed: int) -> np.ndarray:
    """All of `count` indices, or `most` of them drawn at random, in order."""
    if count <= most:
        return np.arange(count)
    return np.sort(numpy_generator(seed, "sample").choice(count, most, replace=False))


def take(rows: Rows, indices: np.ndarray) -> np.ndarray:
    """Rows at `indices` of an array or a file."""
    return rows[indices] if isinstance(rows, np.ndarray) else rows.take(indices)


def count_different(rows: Rows, enough: int) -> int:
    """How many different rows there are; the count ends at `enough`."""
    seen: set[bytes] = set()
    for start in range(0, len(rows), 1024):
        for row in np.asarray(rows[start : start + 1024]):
            seen.add((row + 0.0).tobytes())  # -0 is 0
            if len(seen) >= enough:
                return len(seen)
    return len(seen)


def find_copies(hashes: Sequence[str], labels: np.ndarray) -> list[list[int]]:
    """Groups of items with equal content in one cluster, the largest first."""
    groups: dict[tuple[int, str], list[int]] = defaultdict(list)
    for index, (label, name) in enumerate(zip(labels.tolist(), hashes, strict=True)):
        groups[label, name].append(index)
    return sorted((group for group in groups.values() if len(group) > 1), key=len, reverse=True)


def cluster_sizes(labels: np.ndarray, k: int) -> list[int]:
    """Items of each cluster."""
    return np.bincount(labels, minlength=k).tolist()


def plain_agreement(agreement: Agreement) -> dict[str, Any]:
    """The figures for the JSON document."""
    return {name: getattr(agreement, name) for name in ("accuracy", "purity", "nmi", "ari")}
