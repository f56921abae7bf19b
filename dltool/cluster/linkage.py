"""Groups without a k: what is joined by average linkage below a distance, and the tree of it."""

import warnings
from collections.abc import Generator
from pathlib import Path

import numpy as np
import torch

from dltool.cluster.clustering import Clustering, GroupingStep, GroupingTask
from dltool.cluster.distances import Rows, cluster_sums
from dltool.cluster.manifold import NEIGHBORS, measure_groups
from dltool.plots import chart

# Of more items only neighbours are joined.
_ALL_PAIRS = 5000
MOST_IN_TREE = 500
_MOST_NAMED, _LONGEST_NAME = 60, 36


def group_by_distance(task: GroupingTask) -> Generator[GroupingStep, None, Clustering]:
    """Join the two groups with the least mean distance of their items as long as that is below the settings' distance.

    Beyond 5,000 items only groups with neighbours in each other, 10 of each item, are joined.
    """
    rows = np.ascontiguousarray(np.asarray(task.rows), np.float32)
    most = task.settings.distance
    yield GroupingStep("joining groups", 0, 1)
    if len(rows) < 2:
        labels = np.zeros(len(rows), np.int64)
    elif len(rows) <= _ALL_PAIRS:
        from scipy.cluster.hierarchy import fcluster

        labels = fcluster(tree_of(rows), most, "distance").astype(np.int64) - 1
    else:
        from sklearn.cluster import AgglomerativeClustering
        from sklearn.neighbors import kneighbors_graph

        graph = kneighbors_graph(rows, NEIGHBORS)
        joined = AgglomerativeClustering(None, connectivity=graph, linkage="average", distance_threshold=most)
        with warnings.catch_warnings():  # scikit-learn tells that it completes a graph that falls apart, as is right
            warnings.simplefilter("ignore", UserWarning)
            labels = joined.fit_predict(rows).astype(np.int64)
    k = int(labels.max()) + 1
    sums, counts = cluster_sums(rows, torch.from_numpy(labels), k)
    centers = (sums / counts[:, None].clamp_min(1)).float()
    distances, margins, inertia = measure_groups(rows, torch.from_numpy(labels), centers)
    return Clustering(labels, centers, distances, margins, rows, inertia, len(rows) - k)


def tree_of(rows: Rows) -> np.ndarray:
    """The joins of N × D rows by average linkage, as scipy has them: (N - 1) × 4."""
    from scipy.cluster.hierarchy import linkage

    return linkage(np.asarray(rows, np.float64), "average")


def plot_tree(path: Path, rows: Rows, names: list[str], distance: float) -> None:
    """Draw the tree of at most `MOST_IN_TREE` items, with a line at `distance`; few items with their names."""
    from scipy.cluster.hierarchy import dendrogram

    named = len(names) <= _MOST_NAMED
    with chart(path, min(24.0, 4 + len(names) / 8), 6.5) as axes:
        shown = [name if len(name) <= _LONGEST_NAME else "…" + name[1 - _LONGEST_NAME :] for name in names]
        how = {"labels": shown, "leaf_rotation": 90, "leaf_font_size": 7} if named else {"no_labels": True}
        dendrogram(tree_of(rows), ax=axes, color_threshold=distance, above_threshold_color="0.6", **how)
        axes.axhline(distance, color="C3", linestyle=":", label=f"--distance {distance:g}")
        axes.set(ylabel="mean distance of the joined groups", title=f"{len(names)} items by average linkage")
        axes.legend()
