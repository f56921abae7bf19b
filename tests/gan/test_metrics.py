"""Distances between sets of features against closed forms, a float64 `sqrtm`, and sets whose answer is known."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from dltool.errors import DataError
from dltool.gan.metrics import (
    Moments,
    RunningMoments,
    frechet_distance,
    kernel_distance,
    moments,
    precision_recall,
    too_few,
)


def draws(count: int, dim: int, seed: int, scale: float = 1.0) -> Tensor:
    """Correlated Gaussian features, the same law for every seed."""
    mixing = torch.randn(dim, dim, generator=torch.Generator().manual_seed(99)) / dim**0.5
    return scale * torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)) @ mixing + 3


def sqrtm_distance(first: np.ndarray, second: np.ndarray) -> float:
    """The textbook's formula in float64, with SciPy's matrix square root."""
    shift = first.mean(0) - second.mean(0)
    one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    return float(shift @ shift + np.trace(one) + np.trace(two) - 2 * np.trace(np.real(sqrtm(one @ two))))


def test_moments_of_batches_are_those_of_the_whole():
    features = draws(1000, 7, 0) + 1e4  # a sum of squares would lose five digits here
    running = RunningMoments()
    for rows in features.split(33):
        running.update(rows)
    seen = running.finish()
    whole = features.double().numpy()
    assert seen.count == 1000
    assert np.allclose(seen.mean, whole.mean(0), rtol=1e-12)
    assert np.allclose(seen.covariance, np.cov(whole, rowvar=False), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("count", "dim"), [(300, 64), (2000, 16), (50, 64)])
def test_frechet_distance_agrees_with_sqrtm(count: int, dim: int):
    first, second = draws(count, dim, 1), draws(count, dim, 2, scale=1.3) + 0.1
    expected = sqrtm_distance(first.double().numpy(), second.double().numpy())
    assert frechet_distance(moments(first), moments(second)) == pytest.approx(expected, rel=1e-4)


def test_frechet_distance_of_gaussians_in_closed_form():
    mean, spread = torch.tensor([1.0, -2.0, 0.5]).double(), torch.tensor([4.0, 9.0, 0.25]).double()
    first = Moments(10, torch.zeros(3).double(), torch.eye(3).double())
    second = Moments(10, mean, torch.diag(spread))
    expected = float(mean.square().sum() + (1 - spread.sqrt()).square().sum())
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-12)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double()).Q
    turned = Moments(10, turn @ mean, turn @ torch.diag(spread) @ turn.T)
    assert frechet_distance(turned, first) == pytest.approx(expected, rel=1e-12)


def test_frechet_distance_of_equal_halves_and_unlike_features():
    features = draws(4000, 32, 3)
    same = moments(features)
    assert frechet_distance(same, same) < 1e-3 * 1e-3
    flat = moments(torch.cat([features, features[:, :8]], 1))  # a covariance that is singular
    assert frechet_distance(flat, flat) < 1e-3
    halves = frechet_distance(moments(features[::2]), moments(features[1::2]))
    unlike = frechet_distance(same, moments(torch.rand(4000, 32)))
    assert 0 < halves < 0.01 * unlike


def test_too_few_images_for_the_dimensions_are_named():
    few, enough = moments(draws(32, 32, 0)), moments(draws(33, 32, 0))
    assert too_few(few, enough) == "32 pictures on a side, but its 32 features need at least 33"
    assert too_few(enough, enough) is None
    with pytest.raises(DataError, match="1 pictures: a covariance needs at least 2"):
        moments(draws(1, 4, 0))


def plain_mmd2(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased squared MMD, pair by pair."""
    kernel = lambda a, b: (a @ b / len(a) + 1) ** 3  # noqa: E731
    n, m = len(x), len(y)
    within_x = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * np.mean([[kernel(a, b) for b in y] for a in x])


def test_kernel_distance_is_the_mean_of_unbiased_estimates():
    first, second = draws(10, 4, 0), draws(10, 4, 1) + 1
    found = kernel_distance(first, second, seed=5)
    assert (found.subsets, found.size) == (5, 2)
    # Every pair of one-subset estimates is a draw of the same law; its mean over many seeds is the whole sample's.
    values = [kernel_distance(first, second, seed).value for seed in range(1000)]
    whole = plain_mmd2(first.double().numpy(), second.double().numpy())
    assert np.mean(values) == pytest.approx(whole, abs=4 * np.std(values) / len(values) ** 0.5)


def test_kernel_distance_is_zero_on_average_for_equal_laws_and_its_error_honest():
    found = [kernel_distance(draws(500, 8, 2 * s), draws(500, 8, 2 * s + 1), s) for s in range(40)]
    values = np.array([one.value for one in found])
    spread = values.std(ddof=1)
    assert abs(values.mean()) < 3 * spread / 40**0.5
    assert (values < 0).any()
    assert np.mean([one.error for one in found]) == pytest.approx(spread, rel=0.4)
    apart = kernel_distance(draws(500, 8, 0), draws(500, 8, 1) + 1)
    assert apart.value > 10 * apart.error
    with pytest.raises(DataError, match="9 pictures; at least 10"):
        kernel_distance(draws(9, 4, 0), draws(20, 4, 1))


def test_precision_and_recall_of_constructed_sets():
    left, right = draws(400, 4, 0), draws(400, 4, 1) + 1000
    assert precision_recall(left, left) == (1.0, 1.0)
    assert precision_recall(left, right) == (0.0, 0.0)
    # Samples of one of two modes: every one is good, half of the real ones are missed.
    precision, recall = precision_recall(torch.cat([left, right]), draws(400, 4, 2))
    assert precision > 0.8
    assert 0.4 < recall <= 0.5
    # A third of the samples is nonsense.
    precision, _ = precision_recall(left, torch.cat([left[:200], right[:100]]))
    assert precision == pytest.approx(2 / 3)
    with pytest.raises(DataError, match="3 pictures; more than 3"):
        precision_recall(left, right[:3])


def test_precision_and_recall_in_blocks_agree_with_the_whole_matrix():
    real, made = draws(2500, 3, 0), draws(2200, 3, 1, scale=1.2)
    radii = [torch.cdist(side, side).kthvalue(4, dim=1).values for side in (real, made)]
    distances = torch.cdist(real, made)
    expected = (
        (distances <= radii[0][:, None]).any(0).double().mean().item(),
        (distances <= radii[1]).any(1).double().mean().item(),
    )
    assert precision_recall(real, made) == pytest.approx(expected, abs=2e-3)
