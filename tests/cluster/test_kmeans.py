"""k-means against scikit-learn and against plain float64 arithmetic."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

from dltool.cluster.clustering import Clustering, GroupingTask
from dltool.cluster.distances import CPU_CHUNK, cluster_sums, exact_distances, find_nearest, mean_row
from dltool.cluster.initial_centers import random_centers, spread_centers
from dltool.cluster.kmeans import group_by_kmeans, lloyd, lloyd_sklearn, lloyd_torch
from dltool.cluster.minibatch import _revive, group_by_minibatch
from dltool.cluster.settings import ClusterSettings, Init
from dltool.cluster.table import TableFile
from dltool.events import finish
from dltool.training.context import RunContext

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def blobs() -> np.ndarray:
    """3,000 rows of 20 numbers in 12 groups that overlap."""
    return make_blobs(3000, 20, centers=12, cluster_std=5.0, random_state=3)[0].astype(np.float32)


def start_of(rows: np.ndarray, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """k-means++ centres, and the rows' mean."""
    origin, _ = mean_row(rows, CPU)
    return spread_centers(rows, k, origin, CPU, 0), origin


class Watched:
    """Rows that refuse to be read in large pieces."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.shape, self.largest = rows, rows.shape, 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> np.ndarray:
        self.largest = max(self.largest, len(range(*part.indices(len(self)))))
        return self.rows[part]


@pytest.mark.parametrize("k", [1, 2, 7, 40])
def test_the_torch_loop_ends_where_scikit_learns_does_in_float64(blobs: np.ndarray, k: int) -> None:
    start, origin = start_of(blobs, k)
    run = lloyd_torch(blobs, start, origin, 500, 0.0)
    theirs = KMeans(k, init=start.numpy().astype(np.float64), n_init=1, max_iter=500, tol=0).fit(blobs.astype(float))
    assert run.strict
    assert np.array_equal(run.labels.numpy(), theirs.labels_)
    assert exact_distances(blobs, run.labels, run.centers)[1] == pytest.approx(theirs.inertia_, rel=1e-9)


@pytest.mark.parametrize("k", [2, 9])
def test_the_loop_on_a_cpu_ends_where_scikit_learns_does(blobs: np.ndarray, k: int) -> None:
    start, origin = start_of(blobs, k)
    run = lloyd(blobs, start, origin, 500, 0.0)
    theirs = KMeans(k, init=start.numpy(), n_init=1, max_iter=500, tol=0).fit(blobs)
    assert np.array_equal(run.labels.numpy(), theirs.labels_)
    assert exact_distances(blobs, run.labels, run.centers)[1] == pytest.approx(theirs.inertia_, rel=1e-5)
    assert run.iterations == theirs.n_iter_


def test_pieces_of_scikit_learns_loop_are_one_loop(blobs: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    start, _ = start_of(blobs, 9)
    whole = lloyd_sklearn(blobs, start, 300, 0.0)
    monkeypatch.setattr("dltool.cluster.kmeans._PIECE", 4)
    parts = lloyd_sklearn(blobs, start, 300, 0.0)
    assert torch.equal(whole.labels, parts.labels)
    assert whole.iterations <= parts.iterations <= whole.iterations + 1


def test_neither_chunks_nor_threads_change_the_result(blobs: np.ndarray) -> None:
    start, origin = start_of(blobs, 9)
    runs = [lloyd_torch(blobs, start, origin, 20, 0.0, chunk) for chunk in (100, 333, 1024, 5000)]
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if threads == 1 else 1)
        runs.append(lloyd_torch(blobs, start, origin, 20, 0.0))
    finally:
        torch.set_num_threads(threads)
    for run in runs[1:]:
        assert torch.equal(run.labels, runs[0].labels)
        assert torch.equal(run.centers, runs[0].centers)


def test_rows_are_read_in_small_pieces_only(blobs: np.ndarray) -> None:
    rows = Watched(blobs)
    start, origin = start_of(rows, 9)
    lloyd_torch(rows, start, origin, 5, 0.0)
    assert 0 < rows.largest <= CPU_CHUNK < len(rows)


def test_distances_keep_their_digits_far_from_zero(blobs: np.ndarray) -> None:
    far = (blobs.astype(np.float64) * 0.01 + 300.0).astype(np.float32)
    start, origin = start_of(far, 6)
    nearest = find_nearest(far, start, origin, second=True)
    exact = np.square(far.astype(float)[:, None] - start.numpy().astype(float)[None]).sum(2)
    ordered = np.sort(exact, axis=1)
    assert np.array_equal(nearest.labels.numpy(), exact.argmin(1))
    np.testing.assert_allclose(nearest.squared.numpy(), ordered[:, 0], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(nearest.second.numpy(), ordered[:, 1], rtol=1e-3)
    squared, inertia = exact_distances(far, nearest.labels, start)
    np.testing.assert_allclose(squared.numpy(), ordered[:, 0], rtol=1e-6)
    assert inertia == pytest.approx(ordered[:, 0].sum(), rel=1e-12)


def test_sums_and_counts_are_those_of_the_members(blobs: np.ndarray) -> None:
    labels = torch.arange(len(blobs)) % 7
    sums, counts = cluster_sums(blobs, labels, 8)
    for number in range(7):
        np.testing.assert_allclose(sums[number].numpy(), blobs[number::7].astype(float).sum(0), rtol=1e-5, atol=1e-2)
    assert counts.tolist() == [429, 429, 429, 429, 428, 428, 428, 0]


def test_empty_clusters_move_to_the_furthest_rows() -> None:
    rows = np.array([[0.0], [0.1], [0.2], [10.0], [30.0]], np.float32)
    start = torch.tensor([[0.0], [100.0], [200.0]])
    run = lloyd_torch(rows, start, torch.zeros(1), 50, 0.0)
    assert sorted(torch.bincount(run.labels, minlength=3).tolist()) == [1, 1, 3]
    assert sorted(round(float(c), 4) for c in run.centers) == [0.1, 10.0, 30.0]


def test_the_iterations_have_a_cap_and_the_tolerance_ends_them(blobs: np.ndarray) -> None:
    start, origin = start_of(blobs, 9)
    capped = lloyd_torch(blobs, start, origin, 3, 0.0)
    assert capped.iterations == 3 and not capped.strict
    assert torch.equal(capped.labels, find_nearest(blobs, capped.centers, origin).labels)
    assert lloyd_torch(blobs, start, origin, 300, 1e9).iterations == 1


def test_kmeans_plus_plus_finds_a_row_of_every_distant_group() -> None:
    rows, groups = make_blobs(400, 3, centers=8, cluster_std=0.01, random_state=1)
    rows = rows.astype(np.float32)
    origin, _ = mean_row(rows, CPU)
    for seed in range(5):
        centers = spread_centers(rows, 8, origin, CPU, seed)
        nearest = find_nearest(centers, torch.from_numpy(rows), origin).labels
        assert len({groups[i] for i in nearest.tolist()}) == 8
    assert len(np.unique(random_centers(rows, 50, CPU, 0).numpy(), axis=0)) == 50


def run_method(method: object, rows: object, k: int, **settings: object) -> Clustering:
    """The result of a method."""
    return finish(method(GroupingTask(rows, k, ClusterSettings(**settings), RunContext(CPU))))


def test_a_result_agrees_with_itself(blobs: np.ndarray) -> None:
    result = run_method(group_by_kmeans, blobs, 5, n_init=2)
    exact = np.sqrt(np.square(blobs[:, None] - result.centers.numpy()[None]).sum(2))
    ordered = np.sort(exact, axis=1)
    assert np.array_equal(result.labels, exact.argmin(1))
    np.testing.assert_allclose(result.distances, ordered[:, 0], rtol=1e-4)
    np.testing.assert_allclose(result.margins, ordered[:, 1] - ordered[:, 0], atol=2e-3)
    assert result.inertia == pytest.approx(float((ordered[:, 0] ** 2).sum()), rel=1e-4)


def test_more_starts_are_never_worse_and_a_seed_repeats(blobs: np.ndarray) -> None:
    one, many = (run_method(group_by_kmeans, blobs, 12, n_init=n, init=Init.RANDOM) for n in (1, 6))
    assert many.inertia <= one.inertia
    again = run_method(group_by_kmeans, blobs, 12, n_init=1, init=Init.RANDOM)
    assert np.array_equal(one.labels, again.labels) and torch.equal(one.centers, again.centers)
    other = run_method(group_by_kmeans, blobs, 12, n_init=1, init=Init.RANDOM, seed=1)
    assert not torch.equal(one.centers, other.centers)


def test_minibatch_reads_a_file_and_comes_near_the_whole(blobs: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", blobs)
    table = TableFile(tmp_path / "rows.npy")
    part = run_method(group_by_minibatch, table, 12, batch_size=512)
    whole = run_method(group_by_kmeans, blobs, 12)
    assert part.inertia < 1.03 * whole.inertia
    assert np.array_equal(part.labels, find_nearest(blobs, part.centers, part.centers.mean(0)).labels.numpy())
    assert np.array_equal(part.labels, run_method(group_by_minibatch, blobs, 12, batch_size=512).labels)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_ends_where_the_cpu_does(blobs: np.ndarray) -> None:
    start, origin = start_of(blobs, 9)
    here = lloyd_torch(blobs, start, origin, 500, 0.0)
    moved = torch.from_numpy(blobs).cuda()
    there = lloyd_torch(moved, start.cuda(), origin.cuda(), 500, 0.0)
    assert torch.equal(here.labels, there.labels.cpu())


def test_a_minibatch_centre_without_rows_moves_to_the_furthest_row() -> None:
    centers, seen = torch.zeros(3, 1), torch.tensor([3.0, 5.0, 4.0])
    batch = torch.tensor([[0.0], [5.0], [1.0]])
    _revive(centers, torch.tensor([3, 0, 4]), seen, batch, torch.tensor([0.0, 25.0, 1.0]))
    assert centers.flatten().tolist() == [0, 5, 0] and seen.tolist() == [3, 0, 4]
