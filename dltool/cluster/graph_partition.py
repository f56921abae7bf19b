"""Cutting a graph of neighbours into a given number of groups, so that as many edges as can be lie inside them."""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from dltool.training.seeds import derive_seed

_ROUNDS = 30
_SETTLED = 4e-4
_LEAST_GAIN = 1e-5
_CANDIDATES = 3
# Small groups times the random starts from which they are put together.
_NODES_STARTED = 4000
_MOST_IMPROVEMENTS = 50


@dataclass(frozen=True)
class Graph:
    """A weighted undirected graph.

    Attributes:
        weights: N × N float32, symmetric.
        degrees: N float64, the sums of its rows.
    """

    weights: sparse.csr_matrix
    degrees: np.ndarray

    @property
    def total(self) -> float:
        """Twice the sum of all edges."""
        return float(self.degrees.sum())


def link_neighbors(distances: np.ndarray, neighbors: np.ndarray) -> Graph:
    """Join every row to its nearest others with the weight exp(-d² / (s_i s_j)), s being the distance to the 7th.

    The scale is each point's own, so that groups of different densities hold together alike (Zelnik-Manor and Perona,
    "Self-tuning spectral clustering", 2004).

    Args:
        distances, neighbors: N × K Euclidean distances to, and numbers of, the nearest other rows, nearest first.
    """
    count, width = distances.shape
    scale = distances[:, min(6, width - 1)].astype(np.float64)
    product = scale[:, None] * scale[neighbors]
    # Copies of one row have no scale; they are as near as can be.
    exponent = np.where(distances > 0, distances.astype(np.float64) ** 2 / np.maximum(product, 1e-200), 0.0)
    weights = np.exp(-np.minimum(exponent, 30.0)).astype(np.float32)
    sources = np.repeat(np.arange(count), width)
    directed = sparse.csr_matrix((weights.ravel(), (sources, neighbors.ravel())), (count, count))
    both = ((directed + directed.T) / 2).tocsr()
    return Graph(both, np.asarray(both.sum(1), np.float64).ravel())


def modularity(graph: Graph, labels: np.ndarray, k: int) -> float:
    """Share of edges inside groups, less what it would be if edges fell at random (Newman, 2006); at most 1 - 1/k."""
    between = _between(graph, labels, k)
    return float(np.trace(between) - (between.sum(1) ** 2).sum())


def crossing_share(graph: Graph, labels: np.ndarray, k: int) -> float:
    """Share of the edges that join different groups."""
    return 1 - float(np.trace(_between(graph, labels, k)))


def spectral_coordinates(graph: Graph, dimensions: int) -> np.ndarray:
    """N × dimensions: the leading eigenvectors of D^-½ W D^-½, rows of length 1 (Ng, Jordan and Weiss, 2001).

    Degrees are raised a little, as a few rows that hang loosely on the rest would otherwise be found before the groups
    are (Amini et al., 2013).
    """
    from scipy.sparse.linalg import eigsh

    root = 1 / np.sqrt(graph.degrees + 1e-3 * graph.degrees.mean())
    scaled = sparse.diags(root) @ graph.weights.astype(np.float64) @ sparse.diags(root)
    count = len(root)
    if count <= max(300, 4 * dimensions):
        vectors = np.linalg.eigh(scaled.toarray())[1][:, ::-1][:, :dimensions]
    else:
        start = np.random.default_rng(derive_seed("eigenvectors")).standard_normal(count)
        width = min(count - 1, 4 * dimensions + 20)
        values, vectors = eigsh(scaled, dimensions, which="LA", tol=1e-4, ncv=width, v0=start)
        vectors = vectors[:, np.argsort(-values)]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def rough_groups(coordinates: np.ndarray, k: int, seed: int, most_iterations: int = 300) -> np.ndarray:
    """N int64 labels in [0, k) by k-means from one start; fewer groups where fewer rows are different."""
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about fewer different rows than clusters
        estimator = KMeans(k, n_init=1, max_iter=most_iterations, random_state=seed)
        return estimator.fit_predict(coordinates).astype(np.int64)


def joined_groups(graph: Graph, coordinates: np.ndarray, k: int, seed: int, random: np.random.Generator) -> np.ndarray:
    """N int64 labels in [0, k): some 5 k + 10 small groups, put together as raises modularity most.

    k-means on the leading coordinates cuts long shapes, such as rings, across, as their own waves come before the cut
    between two of them (Nadler and Galun, "Fundamental limitations of spectral clustering", 2006), and single rows
    never lead from there to the better cut. Among few groups it is found from random starts (a multilevel search:
    Noack and Rotta, "Multi-level algorithms for modularity clustering", 2009).
    """
    wanted = max(k, min(5 * k + 10, len(coordinates) // 10))
    small = np.unique(rough_groups(coordinates, wanted, seed, most_iterations=20), return_inverse=True)[1]
    count = int(small.max()) + 1
    if count <= k:
        return small
    between = _between(graph, small, count)
    volumes = between.sum(1)
    links = (between + between.T) / 2 - np.outer(volumes, volumes)
    inner = links - np.diag(np.diag(links))
    found = [_join(inner, k, random) for _ in range(max(5, _NODES_STARTED // count))]
    return max(found, key=lambda joined: links[joined[:, None] == joined].sum())[small]


def _join(links: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """Labels in [0, k) of few nodes: drawn at random, then each is moved to where its links are, until none moves."""
    labels = random.permutation(np.arange(len(links)) % k)
    sizes = np.bincount(labels, minlength=k)
    for _ in range(_ROUNDS):
        moved = False
        for node in random.permutation(len(links)):
            gain = np.bincount(labels, links[node], k)
            home, target = labels[node], int(gain.argmax())
            if gain[target] > gain[home] + 1e-12 and sizes[home] > 1:  # no group is given up
                labels[node], moved = target, True
                sizes[home] -= 1
                sizes[target] += 1
        if not moved:
            break
    return labels


def improve(
    graph: Graph, labels: np.ndarray, k: int, coordinates: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Raise the modularity of a partition: by moving rows, and by merging two groups while another is cut in two.

    Moves of single rows never leave a partition where one class is cut and two others are joined; the second kind does.

    Args:
        labels: N numbers in [0, k) to begin with.
        coordinates: N × D, in which a group is first cut in two.

    Returns:
        N int64 labels and their modularity.
    """
    labels = _move_rows(graph, labels, k, random)
    value = modularity(graph, labels, k)
    for _ in range(_MOST_IMPROVEMENTS if k > 2 else 0):
        halves, gains = _cut_each(graph, labels, k, coordinates, random)
        for cut, keep, gone in _exchanges(_between(graph, labels, k), gains):
            changed = labels.copy()
            changed[labels == gone] = keep
            changed[(labels == cut) & halves] = gone
            changed = _move_rows(graph, changed, k, random)
            better = modularity(graph, changed, k)
            if better > value + _LEAST_GAIN:
                labels, value = changed, better
                break
        else:
            break
    return labels, value


def _between(graph: Graph, labels: np.ndarray, k: int) -> np.ndarray:
    """k × k shares of the edges between groups."""
    return (
        np.stack([np.bincount(labels, column, k) for column in (graph.weights @ _one_hot(labels, k)).T]) / graph.total
    )


def _one_hot(labels: np.ndarray, k: int) -> np.ndarray:
    rows = np.zeros((len(labels), k), np.float32)
    rows[np.arange(len(labels)), labels] = 1
    return rows


def _move_rows(graph: Graph, labels: np.ndarray, k: int, random: np.random.Generator) -> np.ndarray:
    """Let rows go to the group that raises modularity most, a random half of those that would at a time.

    If all went at once, neighbours would change places for ever.
    """
    labels = labels.copy()
    total = graph.total
    for _ in range(_ROUNDS):
        volume = np.bincount(labels, graph.degrees, k) / total
        gain = graph.weights @ _one_hot(labels, k) - (graph.degrees[:, None] * volume).astype(np.float32)
        target = gain.argmax(1)
        willing = target != labels
        moving = willing & (random.random(len(labels)) < 0.5)
        counts = np.bincount(labels, minlength=k) - np.bincount(labels[moving], minlength=k)
        moving &= counts[labels] > 0  # no group is given up
        labels[moving] = target[moving]
        if willing.sum() <= _SETTLED * len(labels):
            break
    return labels


def _cut_each(
    graph: Graph, labels: np.ndarray, k: int, coordinates: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cut every group in two as well as can be: N booleans, the one part, and the modularity that each cut gives."""
    halves = np.zeros(len(labels), bool)
    gains = np.full(k, -np.inf)
    for group in range(k):
        members = np.flatnonzero(labels == group)
        if len(members) < 4:
            continue
        inner = Graph(graph.weights[members][:, members], graph.degrees[members])
        half = rough_groups(coordinates[members], 2, 0)
        half = _move_halves(inner, half, graph.total, random)
        side = half == 1
        volumes = np.bincount(half, inner.degrees, 2) / graph.total
        lost = 2 * float(inner.weights[side][:, ~side].sum()) / graph.total
        if side.any() and not side.all():
            gains[group] = 2 * volumes[0] * volumes[1] - lost
        halves[members] = side
    return halves, gains


def _move_halves(inner: Graph, half: np.ndarray, total: float, random: np.random.Generator) -> np.ndarray:
    """`_move_rows` inside one group of a graph whose edges sum up to `total`."""
    for _ in range(_ROUNDS // 3):
        volume = np.bincount(half, inner.degrees, 2) / total
        gain = inner.weights @ _one_hot(half, 2) - inner.degrees[:, None] * volume
        moving = (gain.argmax(1) != half) & (random.random(len(half)) < 0.5)
        half = np.where(moving, 1 - half, half)
    return half


def _exchanges(between: np.ndarray, gains: np.ndarray) -> list[tuple[int, int, int]]:
    """The most promising (group to cut, group that takes in another, that other)."""
    volumes = between.sum(1)
    merging = 2 * between - 2 * np.outer(volumes, volumes)
    keep, gone = np.triu_indices(len(gains), 1)
    # Two of the first five may be a pair's own; the best are among the others whatever the rest is like.
    cuts = np.argsort(-gains)[: _CANDIDATES + 2, None]
    sums = gains[cuts] + merging[keep, gone]
    sums[(cuts == keep) | (cuts == gone)] = -np.inf
    best = np.argsort(-sums, axis=None, kind="stable")[:_CANDIDATES]
    places = zip(*np.unravel_index(best, sums.shape), strict=True)
    return [(int(cuts[c, 0]), int(keep[p]), int(gone[p])) for c, p in places if np.isfinite(sums[c, p])]
