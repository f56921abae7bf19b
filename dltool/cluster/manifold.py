"""Groups of any shape: the graph of nearest neighbours, cut where the fewest edges cross."""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dltool.cluster.clustering import PER_CLUSTER, Clustering, GroupingStep, GroupingTask
from dltool.cluster.distances import Rows, cluster_sums, exact_distances, find_nearest, mean_row
from dltool.cluster.graph_partition import (
    Graph,
    crossing_share,
    improve,
    joined_groups,
    link_neighbors,
    rough_groups,
    spectral_coordinates,
)
from dltool.cluster.settings import ClusterMethod
from dltool.training.events import Notice
from dltool.training.seeds import derive_seed, numpy_generator

NEIGHBORS = 10
_STARTS = 20
# While k is chosen.
_TRIAL_STARTS = 3
_FEWEST_COORDINATES = 6
_CHUNK = 2048
_STORED_BYTES = 16 * 2**20
# All pairs are compared.
_SLOW_ROWS = 200_000
_ROWS, _LABELS, _RANK = "neighbors.rows", "neighbors.labels", PER_CLUSTER + "number"
_ORIGIN, _SCALE = "neighbors.origin", "neighbors.scale"
# What the model file needs beyond centres, for `vote`.
STORED = (_ROWS, _LABELS, _RANK, _ORIGIN, _SCALE)


def group_by_manifold(task: GroupingTask) -> Generator[GroupingStep | Notice, None, Clustering]:
    """Group rows by cutting their neighbour graph; see `GroupingTask` and `Clustering`.

    Spectral clustering from several starts, each improved until its modularity rises no more; the best by modularity
    is kept. Centres are the means of groups; a row may lie nearer to another's, so its margin may be negative.
    """
    rows = np.ascontiguousarray(task.rows[:], np.float32)
    k, seed = task.k, task.settings.seed
    if len(rows) > _SLOW_ROWS:
        yield Notice(f"{len(rows)} items: comparing all pairs takes long")
    best = np.zeros(len(rows), np.int64), 0.0
    if k > 1:
        graph = yield from neighbor_graph(rows, task.device)
        for start in range(_STARTS):
            if start == 0:
                dimensions = max(_FEWEST_COORDINATES, _leading(k))
                coordinates = spectral_coordinates(graph, min(len(rows) - 1, dimensions))
            yield GroupingStep("cutting the graph", start, _STARTS, f"modularity {best[1]:.4f}" if start else "")
            found = _cut(graph, coordinates, k, seed, start)
            if start == 0 or found[1] > best[1]:
                best = found
    return _clustering(rows, *best, k, seed)


@dataclass
class GraphCuts:
    """Cuts of one graph of neighbours into different numbers of groups, to choose among them.

    Attributes:
        rows: N × D float32 that the graph joins.
    """

    rows: np.ndarray
    graph: Graph
    coordinates: np.ndarray | None = None

    def cut(self, k: int, highest: int, seed: int) -> tuple[np.ndarray, float, float]:
        """N labels in [0, k) from a few starts, their modularity, and the share of edges that cross between groups.

        Args:
            highest: no larger k follows soon: spectral coordinates are made for so many groups at once.
        """
        width = min(len(self.rows) - 1, max(_FEWEST_COORDINATES, _leading(highest)))
        if self.coordinates is None or self.coordinates.shape[1] < width:
            self.coordinates = spectral_coordinates(self.graph, width)
        own = self.coordinates[:, : max(_FEWEST_COORDINATES, _leading(k))]
        labels, value = max((_cut(self.graph, own, k, seed, s) for s in range(_TRIAL_STARTS)), key=lambda cut: cut[1])
        return labels, value, crossing_share(self.graph, labels, k)

    def inertia(self, labels: np.ndarray, k: int) -> float:
        """Sum of squared distances to the groups' means."""
        tensor = torch.from_numpy(labels)
        sums, counts = cluster_sums(self.rows, tensor, k)
        return exact_distances(self.rows, tensor, (sums / counts[:, None].clamp_min(1)).float())[1]


def open_cuts(rows: Rows, device: torch.device) -> Generator[GroupingStep, None, GraphCuts]:
    """Join N × D rows to their neighbours once, for cuts into any number of groups."""
    rows = np.ascontiguousarray(rows[:], np.float32)
    return GraphCuts(rows, (yield from neighbor_graph(rows, device)))


def neighbor_graph(rows: np.ndarray, device: torch.device) -> Generator[GroupingStep, None, Graph]:
    """Join each of N × D rows to its nearest ones."""
    count = min(NEIGHBORS, len(rows) - 1)
    found = []
    if device.type == "cpu":
        from sklearn.neighbors import NearestNeighbors

        index = NearestNeighbors(n_neighbors=count + 1, algorithm="brute").fit(rows)
    whole = torch.from_numpy(rows).to(device)
    for start in range(0, len(rows), _CHUNK):
        yield GroupingStep("finding neighbours", start, len(rows))
        if device.type == "cpu":
            found.append(index.kneighbors(rows[start : start + _CHUNK]))
        else:
            near = torch.cdist(whole[start : start + _CHUNK], whole).topk(count + 1, largest=False)
            found.append((near.values.cpu().numpy(), near.indices.cpu().numpy()))
    distances, neighbors = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return link_neighbors(*without_self(distances, neighbors))


def without_self(distances: np.ndarray, neighbors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take each row itself out of N × (K + 1) lists; among copies it need not stand first, or in the list at all."""
    own = neighbors == np.arange(len(neighbors))[:, None]
    own[~own.any(1), -1] = True
    shape = (len(neighbors), neighbors.shape[1] - 1)
    return distances[~own].reshape(shape), neighbors[~own].reshape(shape)


def _leading(k: int) -> int:
    """How many spectral coordinates tell k groups apart: some more than k, as not each shows a group."""
    return k + (k + 1) // 2


def _cut(graph: Graph, coordinates: np.ndarray, k: int, seed: int, start: int) -> tuple[np.ndarray, float]:
    """One start: groups of nearby coordinates, or every second time of small groups put together; then improved."""
    number = derive_seed(seed, "manifold", k, start) % 2**31
    random = numpy_generator(seed, "moves", k, start)
    if start % 2:
        labels = joined_groups(graph, coordinates, k, number, random)
    else:
        labels = rough_groups(coordinates[:, : _leading(k)], k, number)
    return improve(graph, labels, k, coordinates, random)


def _clustering(rows: np.ndarray, labels: np.ndarray, value: float, k: int, seed: int) -> Clustering:
    tensor = torch.from_numpy(labels)
    sums, counts = cluster_sums(rows, tensor, k)
    centers = (sums / counts[:, None].clamp_min(1)).float()
    distances, margins, inertia = measure_groups(rows, tensor, centers)
    stored = _stored_rows(len(rows), rows.shape[1], seed)
    origin = mean_row(rows, torch.device("cpu"))[0]
    moved = torch.from_numpy(rows[stored]) - origin
    scale = moved.abs().max().clamp_min(1e-30)
    return Clustering(
        labels=labels,
        centers=centers,
        distances=distances,
        margins=margins,
        embedding=rows,
        inertia=inertia,
        iterations=_STARTS if k > 1 else 0,
        figures={"modularity": value},
        architecture=ClusterMethod.MANIFOLD.value,
        tensors={
            _ROWS: (moved / scale).half(),  # within [-1, 1], as half precision knows no large numbers
            _ORIGIN: origin,
            _SCALE: scale,
            _LABELS: tensor[stored].int(),
            _RANK: torch.arange(k),
        },
    )


def measure_groups(rows: np.ndarray, labels: Tensor, centers: Tensor) -> tuple[np.ndarray, np.ndarray, float]:
    """Distances to own centres, how much further the nearest other one is, and the inertia."""
    squared, inertia = exact_distances(rows, labels, centers)
    nearest = find_nearest(rows, centers, mean_row(rows, torch.device("cpu"))[0], second=True)
    assert nearest.second is not None
    other = torch.where(nearest.labels == labels, nearest.second, nearest.squared).sqrt()
    distances = squared.sqrt()
    return distances.numpy(), (other - distances).numpy(), inertia


def _stored_rows(count: int, width: int, seed: int) -> np.ndarray:
    """Numbers of the rows that the model file keeps: all, or as many drawn at random as fill 16 MiB."""
    most = max(1000, _STORED_BYTES // (2 * width))
    if count <= most:
        return np.arange(count)
    return np.sort(numpy_generator(seed, "stored").choice(count, most, replace=False))


def vote(rows: np.ndarray, tensors: dict[str, Tensor]) -> np.ndarray:
    """Groups of new rows: each of the nearest stored rows votes with exp(-d² / s²), s being the 7th one's distance."""
    from sklearn.neighbors import NearestNeighbors

    stored = tensors[_ROWS].float().numpy()
    rows = ((torch.from_numpy(rows) - tensors[_ORIGIN]) / tensors[_SCALE]).numpy()
    rank = torch.empty_like(tensors[_RANK])
    rank[tensors[_RANK]] = torch.arange(len(rank))  # clusters were numbered anew after the rows were stored
    labels = rank[tensors[_LABELS].long()].numpy()
    count = min(NEIGHBORS, len(stored))
    distances, neighbors = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(stored).kneighbors(rows)
    scale = np.maximum(distances[:, min(6, count - 1)], 1e-12)
    votes = np.zeros((len(rows), len(rank)))
    np.add.at(votes, (np.arange(len(rows))[:, None], labels[neighbors]), np.exp(-((distances / scale[:, None]) ** 2)))
    return votes.argmax(1)
