"""Occlusion against a plain loop and captum; deletion and insertion tell a true map from a random one."""

import numpy as np
import pytest
import torch
from captum.attr import Occlusion

from dltool.events import finish
from dltool.featmap.occlusion import occlusion, places_along
from dltool.featmap.targets import Target
from dltool.featmap.trust import blur, measure_trust
from tests.featmap.networks import RedMinusBlue, red_left_blue_right, untrained, wrap
from tests.featmap.test_cam import relative_error


@pytest.mark.parametrize(("window", "batch_size"), [(16, 8), (10, 3)])
def test_occlusion_is_a_plain_loop(window: int, batch_size: int) -> None:
    network = untrained("resnet18", 64)
    torch.manual_seed(0)
    image = torch.randn(1, 3, 64, 64)
    total, count = torch.zeros(64, 64), torch.zeros(64, 64)
    with torch.no_grad():
        whole = network.module(image)[0, 9]
        for top in places_along(64, window):
            for left in places_along(64, window):
                covered = image.clone()
                covered[:, :, top : top + window, left : left + window] = 0
                total[top : top + window, left : left + window] += whole - network.module(covered)[0, 9]
                count[top : top + window, left : left + window] += 1
    found = finish(occlusion(network.module, image, Target(9), window, batch_size))
    assert relative_error(found, total / count) < 1e-4


def test_occlusion_is_captum_s_where_windows_fit() -> None:
    network = untrained("resnet18", 64)
    torch.manual_seed(0)
    image = torch.randn(1, 3, 64, 64)
    expected = Occlusion(network.module).attribute(
        image, sliding_window_shapes=(3, 16, 16), strides=(3, 8, 8), target=9
    )
    found = finish(occlusion(network.module, image, Target(9), 16, 8))
    assert relative_error(found, expected[0, 0].float()) < 1e-4


def test_windows_cover_everything_once_at_least() -> None:
    for length in (1, 7, 16, 224):
        for window in (1, 5, 28, 300):
            places = places_along(length, window)
            covered = {pixel for place in places for pixel in range(place, min(length, place + window))}
            assert covered == set(range(length))
            assert len(places) == len(set(places))


class SharpnessInTheMiddle(torch.nn.Module):
    """Class 0's score is how much neighbouring pixels differ in the middle of the image, class 1's a constant."""

    def forward(self, images):
        middle = images[:, :, 24:40, 24:40]
        sharpness = (middle[..., 1:] - middle[..., :-1]).abs().mean((1, 2, 3))
        return torch.stack([20 * sharpness, torch.full_like(sharpness, 3.0)], 1)


def test_a_true_map_scores_high_a_false_one_low_and_a_random_one_nothing() -> None:
    network = wrap(SharpnessInTheMiddle(), size=64)
    rng = np.random.default_rng(0)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    true = np.zeros((64, 64), np.float32)
    true[24:40, 24:40] = 1
    gains = {
        name: measure_trust(network, image, Target(0), heat).gain for name, heat in (("true", true), ("false", -true))
    }
    random = [measure_trust(network, image, Target(0), rng.random((64, 64))).gain for _ in range(20)]
    assert gains["true"] > 0.5
    assert gains["false"] < -0.5
    assert abs(np.mean(random)) < 0.1
    backwards = measure_trust(network, image, Target(0), -true)
    forwards = measure_trust(network, image, Target(0), true)
    assert forwards.deletion < backwards.deletion
    assert forwards.insertion > backwards.insertion


def test_trust_of_a_constant_answer_is_zero_and_areas_are_probabilities() -> None:
    network = wrap(RedMinusBlue())
    grey = torch.full((1, 3, 16, 16), 0.5)
    trust = measure_trust(network, grey, Target(0), np.random.default_rng(0).random((16, 16)))
    assert trust.gain == pytest.approx(0, abs=1e-6)
    assert trust.deletion == pytest.approx(0.5, abs=1e-6)


def test_blur_keeps_flat_images_and_takes_any_size() -> None:
    for size in (1, 2, 17, 64):
        flat = torch.full((1, 3, size, size), 0.3)
        torch.testing.assert_close(blur(flat), flat)
    left_right = red_left_blue_right(64)
    assert blur(left_right)[0, 0].std() < left_right[0, 0].std()
