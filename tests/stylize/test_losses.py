"""The losses against numbers worked out by hand and against finite differences."""

import pytest
import torch
from torch import Tensor

from dltool.stylize.losses import gram_matrix, range_penalty, relative_distance, total_variation


def _two_pixels() -> Tensor:
    """Two channels, two pixels: channel 0 is (1, 2), channel 1 is (3, -1)."""
    return torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])


def test_gram_matrix_of_two_pixels_and_two_channels_by_hand():
    # (1·1 + 2·2)/2, (1·3 + 2·-1)/2, (3·3 + 1·1)/2
    torch.testing.assert_close(gram_matrix(_two_pixels()), torch.tensor([[2.5, 0.5], [0.5, 5.0]]))


def test_gram_matrix_does_not_depend_on_where_pixels_are_how_many_or_how_they_lie_in_memory():
    features = torch.randn(1, 5, 6, 7)
    expected = gram_matrix(features)
    shuffled = features.flatten(2)[..., torch.randperm(42)].view(1, 5, 7, 6)
    torch.testing.assert_close(gram_matrix(shuffled), expected)
    torch.testing.assert_close(gram_matrix(features.repeat(1, 1, 3, 2)), expected)
    torch.testing.assert_close(gram_matrix(features.to(memory_format=torch.channels_last)), expected)


def test_style_loss_and_its_gradient_by_hand():
    features = _two_pixels().requires_grad_()
    target = torch.tensor([[2.0, 0.0], [0.0, 4.0]])
    loss = relative_distance(gram_matrix(features), target)
    # G - T = [[.5, .5], [.5, 1]], so (.25 + .25 + .25 + 1) / (4 + 16)
    assert loss.item() == pytest.approx(1.75 / 20)
    loss.backward()
    # d/dF = 4/(N·‖T‖²)·(G - T)·F with N = 2 positions
    matrix = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    expected = 4 / (2 * 20) * torch.tensor([[0.5, 0.5], [0.5, 1.0]]) @ matrix
    torch.testing.assert_close(features.grad.view(2, 2), expected)


def test_content_loss_by_hand():
    features = _two_pixels().requires_grad_()
    target = torch.tensor([[[[0.0, 2.0]], [[3.0, 1.0]]]])
    loss = relative_distance(features, target)
    assert loss.item() == pytest.approx((1 + 4) / (4 + 9 + 1))
    loss.backward()
    torch.testing.assert_close(features.grad, 2 * (_two_pixels() - target) / 14)


def test_distances_do_not_depend_on_scale_and_survive_a_dead_layer():
    value, target = torch.rand(1, 4, 3, 3), torch.rand(1, 4, 3, 3)
    torch.testing.assert_close(relative_distance(100 * value, 100 * target), relative_distance(value, target))
    assert relative_distance(torch.zeros(2, 2), torch.zeros(2, 2)) == 0


@pytest.mark.parametrize(
    "loss",
    [
        total_variation,
        range_penalty,
        lambda image: relative_distance(gram_matrix(image), torch.eye(3, dtype=image.dtype)),
        lambda image: relative_distance(image, torch.full_like(image, 0.3)),
    ],
    ids=["total_variation", "range_penalty", "style", "content"],
)
def test_gradients_agree_with_finite_differences(loss, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Tensor, "float", lambda tensor: tensor)  # the losses compute in float32; here in float64
    image = (torch.rand(1, 3, 4, 5, dtype=torch.float64) * 3 - 1).requires_grad_()
    assert torch.autograd.gradcheck(loss, (image,))


def test_total_variation_by_hand_and_of_a_single_row_and_pixel():
    image = torch.tensor([[[[0.0, 1.0], [0.0, 3.0]]]]).repeat(1, 3, 1, 1)
    assert total_variation(image).item() == pytest.approx((0 + 4) / 2 + (1 + 9) / 2)
    assert total_variation(image[:, :, :1]).item() == pytest.approx(1.0)
    assert total_variation(image[:, :, :1, :1]).item() == 0


def test_range_penalty_is_zero_inside_and_quadratic_outside():
    assert range_penalty(torch.rand(1, 3, 4, 4)).item() == 0
    assert range_penalty(torch.tensor([[[[1.5, -1.0]]]])).item() == pytest.approx((0.25 + 1) / 2)
