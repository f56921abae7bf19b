"""Losses of the deep methods against plain restatements, and the schedule of deep k-means."""

import numpy as np
import pytest
import torch

from dltool.cluster.deep_kmeans import clustering_loss, clustering_weight, new_schedule
from dltool.cluster.settings import ClusterSettings
from dltool.cluster.views import Views
from dltool.errors import SettingsError


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0, 1e-3 / 150), (50, 1e-3 / 150), (51, 1e-3 / 150), (125, 0.5e-3), (199, 149e-3 / 150), (200, 1e-3), (300, 1e-3)],
)
def test_the_clustering_weight_of_the_textbook(epoch: int, expected: float) -> None:
    assert clustering_weight(epoch, 1e-3, 50, 200) == pytest.approx(expected)


def test_a_short_run_keeps_the_textbooks_proportions() -> None:
    textbook = new_schedule(ClusterSettings(epochs=200), 60_000)
    short = new_schedule(ClusterSettings(epochs=20), 60_000)
    assert (textbook.ramp_start, textbook.ramp_end) == (50, 200)
    assert (short.ramp_start, short.ramp_end) == (5, 20)
    assert new_schedule(ClusterSettings(epochs=20, ramp_start=2, ramp_end=8), 60_000).ramp_end == 8
    assert new_schedule(ClusterSettings(), 1000).epochs > new_schedule(ClusterSettings(), 60_000).epochs


def test_a_ramp_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(SettingsError, match="--ramp-start 9 --ramp-end 9"):
        ClusterSettings(ramp_start=9, ramp_end=9)


def test_clustering_loss_and_its_gradient() -> None:
    random = torch.Generator().manual_seed(0)
    codes = torch.randn(7, 3, generator=random, dtype=torch.float64, requires_grad=True)
    centers = torch.randn(4, 3, generator=random, dtype=torch.float64, requires_grad=True)
    loss = clustering_loss(codes, centers)
    loss.backward()
    expected, toward_codes, toward_centers = 0.0, np.zeros((7, 3)), np.zeros((4, 3))
    x, c = codes.detach().numpy(), centers.detach().numpy()
    for i in range(7):
        j = min(range(4), key=lambda j: ((x[i] - c[j]) ** 2).sum())
        expected += ((x[i] - c[j]) ** 2).sum() / 7
        toward_codes[i] = 2 * (x[i] - c[j]) / 7
        toward_centers[j] -= 2 * (x[i] - c[j]) / 7
    assert loss.item() == pytest.approx(expected)
    np.testing.assert_allclose(codes.grad.numpy(), toward_codes)
    np.testing.assert_allclose(centers.grad.numpy(), toward_centers)


def test_a_view_is_a_function_of_seed_epoch_and_sample() -> None:
    images = torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    everything = Views(6, 1, 1.0, 0, "views", 3)(images, torch.arange(6))
    some = torch.tensor([4, 1])
    torch.testing.assert_close(Views(6, 1, 1.0, 0, "views", 3)(images[some], some), everything[some])
    assert not torch.allclose(Views(6, 1, 1.0, 0, "views", 4)(images, torch.arange(6)), everything)
    assert everything.min() >= 0 and everything.max() <= 1


def test_a_view_of_no_strength_is_the_image() -> None:
    images = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Views(2, 3, 0.0, 0, 0)(images, torch.arange(2)), images, atol=1e-5, rtol=0)
