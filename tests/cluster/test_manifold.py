"""Cutting neighbour graphs: modularity by hand, groups of any shape, a known accuracy on digits, new items."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.datasets import load_digits, make_circles, make_moons

from dltool.cluster.assignment import assign
from dltool.cluster.clustering import Clustering, GroupingTask
from dltool.cluster.graph_partition import (
    Graph,
    _exchanges,
    _join,
    improve,
    link_neighbors,
    modularity,
    spectral_coordinates,
)
from dltool.cluster.grouping import by_size
from dltool.cluster.groups_file import SavedGroups
from dltool.cluster.manifold import group_by_manifold, vote, without_self
from dltool.cluster.scores import compare_with_classes
from dltool.cluster.settings import ClusterMethod, ClusterSettings
from dltool.cluster.source import ClusterSource, SourceKind
from dltool.errors import ModelError
from dltool.events import finish
from dltool.training.context import RunContext
from dltool.training.model_file import ModelFile

CONTEXT = RunContext(torch.device("cpu"))


def _group(rows: np.ndarray, k: int, seed: int = 0) -> Clustering:
    settings = ClusterSettings(k=k, method=ClusterMethod.MANIFOLD, seed=seed)
    return finish(group_by_manifold(GroupingTask(rows.astype(np.float32), k, settings, CONTEXT)))


def _two_triangles() -> Graph:
    edges = [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5), (2, 3)]
    weights = np.zeros((6, 6), np.float32)
    for a, b in edges:
        weights[a, b] = weights[b, a] = 1
    return Graph(sparse.csr_matrix(weights), weights.sum(1).astype(float))


def test_modularity_of_two_triangles_joined_by_an_edge() -> None:
    # 6 of 7 edges inside, each group holding half of all ends: 6/7 - 1/2.
    assert modularity(_two_triangles(), np.array([0, 0, 0, 1, 1, 1]), 2) == pytest.approx(6 / 7 - 0.5)
    assert modularity(_two_triangles(), np.zeros(6, np.int64), 2) == pytest.approx(0)


def test_moves_find_the_triangles_from_a_wrong_start() -> None:
    start = np.array([0, 0, 1, 1, 1, 0])
    labels, value = improve(_two_triangles(), start, 2, np.eye(6), np.random.default_rng(0))
    assert value == pytest.approx(6 / 7 - 0.5)
    assert len(set(labels[:3])) == len(set(labels[3:])) == 1


def test_rows_that_would_change_places_for_ever_come_together() -> None:
    weights = np.zeros((4, 4), np.float32)
    weights[[0, 1, 2, 3], [1, 0, 3, 2]] = 1
    graph = Graph(sparse.csr_matrix(weights), np.ones(4))
    assert improve(graph, np.array([0, 1, 1, 0]), 2, np.eye(4), np.random.default_rng(0))[1] == pytest.approx(0.5)


def test_no_group_is_given_up() -> None:
    labels, _ = improve(_two_triangles(), np.array([0, 0, 0, 1, 1, 2]), 3, np.eye(6), np.random.default_rng(0))
    assert np.bincount(labels, minlength=3).min() > 0
    joined = _join(np.ones((8, 8)), 3, np.random.default_rng(0))  # all would be one group
    assert np.bincount(joined, minlength=3).min() > 0


def test_a_class_cut_in_two_beside_two_that_are_joined_is_put_right() -> None:
    random = np.random.default_rng(0)
    means = np.array([[0, 0], [6, 0], [0, 6]])
    rows = np.concatenate([mean + random.standard_normal((60, 2)) for mean in means])
    distances = np.linalg.norm(rows[:, None] - rows, axis=2)
    order = np.argsort(distances, axis=1)[:, 1:9]
    graph = link_neighbors(np.take_along_axis(distances, order, 1), order)
    classes = np.repeat([0, 1, 2], 60)
    start = np.where(classes == 0, (rows[:, 1] > 0).astype(int), 2)
    labels, _ = improve(graph, start, 3, spectral_coordinates(graph, 4), random)
    assert compare_with_classes(labels, classes, 3, 3).accuracy > 0.98


def test_weights_scale_with_the_local_density() -> None:
    distances = np.array([[1.0, 2.0], [1.0, 1.0], [1.0, 2.0]])
    neighbors = np.array([[1, 2], [0, 2], [1, 0]])
    weights = link_neighbors(distances, neighbors).weights.toarray()
    assert weights[0, 1] == pytest.approx(np.exp(-1 / (2 * 1)))  # scales 2 and 1
    np.testing.assert_allclose(weights, weights.T)
    ten_times = link_neighbors(10 * distances, neighbors).weights.toarray()
    np.testing.assert_allclose(weights, ten_times, rtol=1e-6)


def test_a_row_is_no_neighbour_of_its_own_among_copies() -> None:
    distances, neighbors = without_self(np.zeros((2, 3)), np.array([[1, 0, 2], [2, 3, 4]]))
    assert neighbors.tolist() == [[1, 2], [2, 3]]
    assert distances.shape == (2, 2)


@pytest.mark.parametrize("toy", [make_circles, make_moons])
def test_groups_of_any_shape(toy: object) -> None:
    more = {"factor": 0.5} if toy is make_circles else {}
    points, classes = toy(400, noise=0.05, random_state=0, **more)  # type: ignore[operator]
    assert compare_with_classes(_group(points, 2).labels, classes, 2, 2).accuracy > 0.99


@pytest.mark.parametrize("seed", [0, 2])
def test_rings_that_touch_are_told_apart(seed: int) -> None:
    points, classes = make_circles(500, noise=0.1, factor=0.5, random_state=seed)
    assert compare_with_classes(_group(points, 2).labels, classes, 2, 2).accuracy > 0.95


def test_no_group_is_empty_where_there_are_fewer_than_asked_for() -> None:
    points, _ = make_moons(120, noise=0.05, random_state=0)
    assert np.bincount(_group(points, 9).labels, minlength=9).min() > 0


def test_exchanges_are_those_that_promise_most() -> None:
    random = np.random.default_rng(0)
    for k in range(3, 9):
        between, gains = random.random((k, k)), random.normal(size=k)
        between += between.T
        gains[0] = -np.inf  # it cannot be cut
        volumes = between.sum(1)
        promise = {
            (cut, keep, gone): gains[cut] + 2 * between[keep, gone] - 2 * volumes[keep] * volumes[gone]
            for cut, keep, gone in np.ndindex(k, k, k)
            if 0 < cut not in (keep, gone) and keep < gone
        }
        assert _exchanges(between, gains) == sorted(promise, key=promise.get, reverse=True)[:3]


@pytest.mark.parametrize("k", [1, 3])
def test_equal_rows_and_few_rows_are_grouped_all_the_same(k: int) -> None:
    rows = np.repeat(np.array([[0.0, 0], [5, 5], [9, 0]]), 4, axis=0)
    found = _group(rows, k)
    assert len(set(found.labels.tolist())) == k
    assert np.isfinite(found.distances).all()


def test_digits_reach_a_known_accuracy_and_more_than_kmeans() -> None:
    digits = load_digits()
    found = _group(digits.data / 16, 10)
    assert compare_with_classes(found.labels, digits.target, 10, 10).accuracy > 0.88
    assert found.figures["modularity"] > 0.87


def test_the_same_seed_gives_the_same_groups() -> None:
    rows = load_digits().data[:400]
    first, second = _group(rows, 7, seed=3), _group(rows, 7, seed=3)
    np.testing.assert_array_equal(first.labels, second.labels)


def test_new_items_go_where_their_neighbours_are_after_groups_are_numbered_anew() -> None:
    digits = load_digits()
    rows = (digits.data / 16).astype(np.float32)
    found = by_size(_group(rows[::2], 10))
    known = vote(rows[::2], found.tensors)
    assert (known == found.labels).mean() > 0.97
    new = compare_with_classes(vote(rows[1::2], found.tensors), digits.target[1::2], 10, 10).accuracy
    own = compare_with_classes(found.labels, digits.target[::2], 10, 10).accuracy
    assert new > own - 0.03


def test_large_numbers_are_stored_so_that_they_are_found_again() -> None:
    rows = (load_digits().data[:200] * 1e6 + 3e6).astype(np.float32)  # half precision ends at 65,504
    found = _group(rows, 5)
    assert (vote(rows, found.tensors) == found.labels).mean() > 0.95


def test_a_model_without_its_neighbours_is_damaged() -> None:
    model = ModelFile("cluster", "manifold", {}, {"centers": torch.zeros(2, 2)})
    with pytest.raises(ModelError, match=r"m: damaged: cluster.number is missing"):
        finish(assign(SavedGroups(Path("m"), model), ClusterSource("rows", SourceKind.TABLE), CONTEXT))


def test_margins_are_measured_from_the_own_centre() -> None:
    rows = np.array([[0.0], [1], [2], [10], [11], [12]])
    found = _group(rows, 2)
    np.testing.assert_allclose(found.distances, [1, 0, 1, 1, 0, 1])
    np.testing.assert_allclose(found.margins, [10, 10, 8, 8, 10, 10])
    assert found.inertia == pytest.approx(4)
