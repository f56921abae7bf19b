"""Scores with classes and without, and choosing k by them."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score, silhouette_score

from dltool.cluster.clustering import GroupingTask
from dltool.cluster.k_choice import Choice, Tried, choose_k, decide, decide_by_modularity
from dltool.cluster.scores import compare_with_classes, count_different, find_copies, silhouette
from dltool.cluster.settings import ClusterSettings
from dltool.events import finish
from dltool.training.context import RunContext


def test_renamed_clusters_are_as_good_as_the_classes() -> None:
    classes = np.repeat([0, 1, 2], [5, 7, 9])
    found = compare_with_classes(np.array([2, 0, 1])[classes], classes, 3, 3)
    assert (found.accuracy, found.purity, found.ari) == (1, 1, 1)
    assert found.nmi == pytest.approx(1)
    assert found.matching == (1, 2, 0)


def test_more_clusters_than_classes_cost_accuracy_but_not_purity() -> None:
    classes = np.array([0] * 6 + [1] * 4)
    labels = np.array([0, 0, 0, 0, 2, 2, 1, 1, 1, 1])
    found = compare_with_classes(labels, classes, 3, 2)
    assert found.accuracy == pytest.approx(0.8) and found.purity == 1
    assert found.matching == (0, 1, -1)
    assert found.table == ((4, 0), (0, 4), (2, 0))
    assert found.ari == pytest.approx(adjusted_rand_score(classes, labels))


def test_a_cluster_is_not_matched_with_a_class_that_is_not_in_it() -> None:
    found = compare_with_classes(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 0, 0]), 2, 3)
    assert found.table == ((2, 1, 0), (2, 0, 0)) and sorted(found.matching) == [0, 1]
    found = compare_with_classes(np.array([0, 0, 0, 1, 1]), np.array([0, 1, 1, 1, 1]), 2, 3)
    assert found.matching == (0, 1)
    found = compare_with_classes(np.zeros(4, int), np.array([0, 0, 0, 2]), 2, 3)
    assert found.matching == (0, -1)


def test_the_best_matching_is_not_the_greedy_one() -> None:
    table = np.array([[10, 9], [9, 1]])  # greedy takes 10 + 1
    pairs = [(k, c) for k in range(2) for c in range(2) for _ in range(table[k, c])]
    labels, classes = (np.array(column) for column in zip(*pairs, strict=True))
    assert compare_with_classes(labels, classes, 2, 2).accuracy == pytest.approx(18 / 29)


def test_silhouette_is_scikit_learns_and_says_how_many_it_saw() -> None:
    rows, labels = make_blobs(300, 4, centers=3, random_state=0)
    rows = rows.astype(np.float32)
    assert silhouette(rows, labels, 0) == (pytest.approx(silhouette_score(rows, labels), abs=1e-5), 300)
    sampled, count = silhouette(rows, labels, 0, most=100)
    assert count == 100 and sampled == pytest.approx(silhouette_score(rows, labels), abs=0.1)
    assert silhouette(rows, np.zeros(300, int), 0)[0] is None


def choose(rows: np.ndarray, **settings: object) -> Choice:
    """What is chosen for these rows."""
    task = GroupingTask(rows.astype(np.float32), 0, ClusterSettings(**settings), RunContext(torch.device("cpu")))
    return finish(choose_k(task))


@pytest.mark.parametrize("groups", [2, 5])
def test_the_number_of_clear_groups_is_found(groups: int) -> None:
    angles = 2 * np.pi * np.arange(groups) / groups
    centers = 10 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    choice = choose(make_blobs(200, centers=centers, random_state=1)[0], k_max=7)
    assert choice.k == groups
    assert [entry.k for entry in choice.tried] == [2, 3, 4, 5, 6, 7]
    inertias = [entry.inertia for entry in choice.tried]
    assert inertias == sorted(inertias, reverse=True)
    assert f"k {groups} has the largest silhouette" in choice.reason


def test_equal_rows_are_one_group_and_few_different_ones_bound_k() -> None:
    assert choose(np.ones((9, 2))).k == 1
    assert choose(np.repeat([[0.0], [1.0]], 5, axis=0)).k == 2
    choice = choose(np.repeat([[0.0], [1.0], [5.0], [9.0]], 5, axis=0))
    assert [entry.k for entry in choice.tried] == [2, 3]


def test_the_reason_tells_of_overlap_rivals_and_the_end_of_the_range() -> None:
    assert "overlap" in decide([Tried(2, 0.1, 9.0), Tried(3, 0.05, 8.0)], 10, 10).reason
    rivals = decide([Tried(2, 0.6, 9.0), Tried(3, 0.59, 8.0), Tried(4, 0.2, 7.0)], 10, 10).reason
    assert "k 3 would do nearly as well" in rivals
    edge = decide([Tried(2, 0.3, 9.0), Tried(3, 0.6, 8.0)], 10, 99)
    assert "--k-max" in edge.reason and "sample of 10 of 99" in edge.reason


def test_the_range_is_raised_where_the_best_is_at_its_end() -> None:
    places = 10 * np.stack(np.meshgrid(np.arange(5), np.arange(3)), axis=-1).reshape(-1, 2)
    choice = choose(make_blobs(300, centers=places, cluster_std=0.5, random_state=0)[0])
    assert choice.k == 15 and choice.tried[-1].k == 24
    assert choose(make_blobs(200, centers=places, cluster_std=0.5, random_state=0)[0], k_max=12).tried[-1].k == 12


def test_an_even_cloud_is_said_to_have_no_groups() -> None:
    random = np.random.default_rng(0)
    assert "no groups" in choose(random.uniform(size=(400, 2)), k_max=5).reason
    clear = choose(make_blobs(400, centers=3, cluster_std=0.5, random_state=0)[0], k_max=5)
    assert clear.k == 3 and "no groups" not in clear.reason


def test_an_even_cloud_has_no_groups_by_modularity_either() -> None:
    cloud = np.random.default_rng(0).uniform(size=(200, 2))
    for rows, said in ((cloud, True), (make_blobs(200, centers=3, cluster_std=0.5, random_state=0)[0], False)):
        choice = choose(rows, k_max=4, method="manifold")
        assert ("no groups: evenly spread points have" in choice.reason) is said, choice.reason


def test_modularity_takes_clean_cuts_and_else_the_first_of_a_level() -> None:
    level = [Tried(k, 0.1, 9.0, value, 0.1) for k, value in ((2, 0.4), (3, 0.80), (4, 0.804), (5, 0.7))]
    assert decide_by_modularity(level, 9, 9).k == 3 and "more than 0.804" in decide_by_modularity(level, 9, 9).reason
    clean = [Tried(2, 0.1, 9.0, 0.5, 0.0), Tried(3, 0.1, 9.0, 0.66, 0.0), Tried(4, 0.1, 9.0, 0.7, 0.02)]
    assert decide_by_modularity(clean, 9, 9).k == 3


def test_copies_are_looked_for_inside_clusters() -> None:
    hashes = ["a", "b", "a", "a", "b"]
    assert find_copies(hashes, np.array([0, 0, 0, 1, 1])) == [[0, 2]]
    assert find_copies(hashes, np.zeros(5, int)) == [[0, 2, 3], [1, 4]]


def test_different_rows_are_counted_up_to_what_is_enough() -> None:
    rows = np.array([[1.0], [1.0], [2.0], [3.0]], np.float32)
    assert [count_different(rows, enough) for enough in (1, 2, 9)] == [1, 2, 3]
    assert count_different(np.array([[0.0], [-0.0]], np.float32), 9) == 1
