"""From features to rows: principal components, lengths, neighbours."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from dltool.cluster.smoothing import cosine_graph, smooth
from dltool.cluster.transform import Transform, fit_transform
from dltool.errors import SettingsError


@pytest.mark.parametrize("shape", [(200, 12), (9, 30)])
def test_components_are_scikit_learns_up_to_sign(shape: tuple[int, int]) -> None:
    rows = (np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1) + 5).astype(np.float32)
    ours, theirs = fit_transform(rows, 4, normalize=False), PCA(4, svd_solver="full").fit(rows.astype(float))
    projected = theirs.transform(rows.astype(float))
    signs = np.sign((ours(rows) * projected).sum(0))
    np.testing.assert_allclose(ours(rows), projected * signs, atol=2e-3)
    largest = ours.components.abs().argmax(0)
    assert (ours.components[largest, range(4)] > 0).all()


def test_angles_are_taken_around_the_mean() -> None:
    rows = np.random.default_rng(0).normal(100, 1, (50, 6)).astype(np.float32)
    found = fit_transform(rows, 0, normalize=True)(rows)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    centered = rows - rows.mean(0)
    np.testing.assert_allclose(found, centered / np.linalg.norm(centered, axis=1, keepdims=True), atol=1e-4)
    same = np.full((4, 6), 0.1, np.float32)
    assert not fit_transform(same, 0, normalize=True)(same).any()


def test_without_wishes_rows_stay_as_they_are() -> None:
    assert fit_transform(np.ones((3, 2), np.float32), 0, normalize=False).is_identity
    with pytest.raises(SettingsError, match="--pca 3"):
        fit_transform(np.ones((9, 2), np.float32), 3, normalize=False)


def test_a_transform_survives_its_tensors() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    fitted = fit_transform(rows, 2, normalize=True)
    again = Transform.from_tensors(fitted.tensors(), normalize=True)
    assert np.array_equal(fitted(rows), again(rows))


def test_smoothing_is_a_walk_on_the_neighbour_graph() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    directed = np.zeros((40, 40))
    for i in range(40):
        best = np.argsort(-cosines[i])[:3]
        directed[i, best] = np.maximum(cosines[i, best], 0)
    share = 5 / 40**0.5
    dense = (1 - share) * np.minimum(directed, directed.T) + share * (directed + directed.T) / 2
    np.testing.assert_allclose(cosine_graph(rows, 3).toarray(), dense, atol=1e-6)
    walked = np.linalg.matrix_power(dense / dense.sum(1, keepdims=True), 4) @ rows
    walked /= np.linalg.norm(walked, axis=1, keepdims=True)
    np.testing.assert_allclose(smooth(rows, 4), walked, atol=1e-5)


def test_a_rare_kind_keeps_more_of_its_own_than_full_one_sided_edges_would_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    many, few = random.normal(0, 0.35, (2000, 8)), random.normal(0, 0.25, (8, 8))
    rows = np.concatenate([many + np.eye(8)[0], few + np.eye(8)[0] + np.eye(8)[1]])
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    def apart() -> float:
        found = smooth(rows, 8)
        return float(np.linalg.norm(found[2000:].mean(0) - found[:2000].mean(0)))

    mutual = apart()
    monkeypatch.setattr("dltool.cluster.smoothing._ONE_SIDED", np.inf)
    assert mutual > 1.2 * apart()


def test_smoothing_draws_groups_together_and_leaves_strangers_alone() -> None:
    random = np.random.default_rng(0)
    rows = np.concatenate([random.normal([3, 0, 0], 1, (50, 3)), random.normal([0, 3, 0], 1, (50, 3))])
    rows = np.concatenate([np.c_[rows[:, :2], abs(rows[:, 2])], [[0, 0, -9]]])
    rows = torch.nn.functional.normalize(torch.from_numpy(rows)).float().numpy()
    found = smooth(rows, 8)
    first, second = found[:50].mean(0), found[50:100].mean(0)
    assert np.linalg.norm(found[:50] - first, axis=1).mean() < 0.75 * np.linalg.norm(rows[:50] - first, axis=1).mean()
    assert np.linalg.norm(first - second) > 0.5
    np.testing.assert_allclose(found[100], rows[100], atol=1e-6)
