"""Gradient features: what they ignore, what they tell apart, for any size and colours."""

import pytest
import torch
from torch import Tensor

from dltool.cluster.gradients import gradient_features


def _bar(angle_steps: int = 0, shift: int = 0, light: float = 1.0) -> Tensor:
    image = torch.zeros(1, 1, 28, 28)
    image[..., 12 + shift : 16 + shift, 5:23] = light
    return torch.rot90(image, angle_steps, (2, 3))


def _distance(first: Tensor, second: Tensor) -> float:
    return float((gradient_features(first) - gradient_features(second)).norm())


def test_light_and_contrast_do_not_count() -> None:
    assert _distance(_bar(), _bar(light=0.5)) < 0.02 * float(gradient_features(_bar()).norm())
    assert _distance(_bar(), 0.3 + 0.5 * _bar()) < 0.02 * float(gradient_features(_bar()).norm())


def test_a_small_shift_is_nearer_than_a_turn() -> None:
    assert 0 < _distance(_bar(), _bar(shift=1)) < 0.5 * _distance(_bar(), _bar(angle_steps=1))


def test_an_edge_has_a_sign() -> None:
    step = torch.zeros(1, 1, 28, 28)
    step[..., 14:] = 1
    assert _distance(step, 1 - step) > 1


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 64, 48)])
def test_any_size(shape: tuple[int, int, int]) -> None:
    features = gradient_features(torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)))
    assert features.shape[0] == 2 and features.shape[1] >= 768
    assert torch.isfinite(features).all()


def test_grey_in_three_channels_is_grey_and_flat_images_are_finite() -> None:
    torch.testing.assert_close(gradient_features(_bar().expand(1, 3, 28, 28)), gradient_features(_bar()))
    assert torch.isfinite(gradient_features(torch.ones(1, 3, 28, 28))).all()
