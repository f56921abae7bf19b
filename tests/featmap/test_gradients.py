"""Gradient maps against captum, completeness of integrated gradients, guided ReLUs."""

import pytest
import torch
from captum.attr import GuidedBackprop, IntegratedGradients, Saliency
from torch import nn

from dltool.errors import SettingsError
from dltool.events import finish
from dltool.featmap import gradients
from dltool.featmap.methods import explain
from dltool.featmap.settings import Method, WhySettings
from dltool.featmap.targets import Target
from tests.featmap.networks import RedMinusBlue, count_hooks, lite0, photo, red_left_blue_right, untrained, wrap
from tests.featmap.test_cam import relative_error

NETWORKS = pytest.mark.parametrize("make", [lite0, lambda: untrained("resnet18", 64)], ids=["lite0", "resnet18"])


@NETWORKS
def test_saliency_is_captum_s(make, sample_images) -> None:
    network = make()
    _, images = photo(network, sample_images / "photos" / "cat.jpg")
    expected = Saliency(network.module).attribute(images.clone().requires_grad_(), target=281).amax(1)
    assert relative_error(gradients.saliency(network.module, images, [Target(281)]), expected) < 1e-4


@NETWORKS
def test_integrated_gradients_are_captum_s(make, sample_images) -> None:
    network = make()
    _, images = photo(network, sample_images / "photos" / "cat.jpg")
    found = finish(gradients.integrated_gradients(network.module, images, Target(281), steps=12, batch_size=5))
    expected = IntegratedGradients(network.module).attribute(images, target=281, n_steps=12, method="gausslegendre")
    assert relative_error(found, expected[0].float()) < 1e-4


def test_integrated_gradients_sum_to_the_difference_of_the_scores(sample_images) -> None:
    network = lite0()
    for name in ("cat", "flower"):
        _, images = photo(network, sample_images / "photos" / f"{name}.jpg")
        with torch.no_grad():
            logits, empty = network.module(images)[0], network.module(torch.zeros_like(images))[0]
        top = int(logits.argmax())
        heat = finish(explain(network, images, [Target(top)], Method.INTEGRATED_GRADIENTS, WhySettings(), layer=""))[0]
        assert float(heat.values.sum()) == pytest.approx(float(logits[top] - empty[top]), rel=0.01)


def test_smoothgrad_without_noise_is_saliency_and_with_it_repeats() -> None:
    network = untrained("resnet18", 64)
    image = torch.randn(1, 3, 64, 64)
    plain = gradients.saliency(network.module, image, [Target(5)])[0]
    silent = finish(gradients.smoothgrad(network.module, image, Target(5), 3, 0.0, batch_size=2, seed=0))
    torch.testing.assert_close(silent, plain, rtol=1e-3, atol=1e-6)
    noisy = [
        finish(gradients.smoothgrad(network.module, image, Target(5), 4, 0.2, batch_size=size, seed=seed))
        for size, seed in ((4, 0), (3, 0), (4, 1))
    ]
    torch.testing.assert_close(noisy[0], noisy[1], rtol=1e-3, atol=1e-6)  # however it is split in batches
    assert relative_error(noisy[2], noisy[0]) > 0.05


def test_guided_backprop_is_captum_s_and_leaves_no_hooks() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 144, 4))
    )
    network = wrap(module)
    images = torch.randn(2, 3, 16, 16)
    found = gradients.guided_backprop(network, images, [Target(2), Target(2)])
    expected = GuidedBackprop(module).attribute(images.clone().requires_grad_(), target=2)
    assert relative_error(found, expected.detach()) < 1e-5
    assert count_hooks(module) == 0
    in_place = nn.Sequential(*(nn.ReLU(inplace=True) if isinstance(m, nn.ReLU) else m for m in module))
    again = gradients.guided_backprop(wrap(in_place), images, [Target(2), Target(2)])
    torch.testing.assert_close(again, found)


def test_guided_backprop_needs_relus() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(4 * 196, 2))
    with pytest.raises(SettingsError, match="guided-backprop: hand-made has no ReLU"):
        gradients.guided_backprop(wrap(module), torch.rand(1, 3, 16, 16), [Target(0)])


@pytest.mark.parametrize("method", [Method.SALIENCY, Method.INTEGRATED_GRADIENTS, Method.GUIDED_BACKPROP])
def test_red_is_why_it_is_red(method: Method) -> None:
    network = wrap(RedMinusBlue())
    image = red_left_blue_right()
    heat = finish(explain(network, image, [Target(0)], method, WhySettings(), ""))[0].values
    assert heat[:, 8:].sum() == pytest.approx(0, abs=1e-6)
    assert heat[:, :8].min() > 0
