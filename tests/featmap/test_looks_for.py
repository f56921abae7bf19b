"""What layers look for: images by gradient ascent, dreams, filters."""

import numpy as np
import pytest
import torch
from torch import nn

from dltool.errors import ModelError, SettingsError
from dltool.events import finish
from dltool.featmap.deepdream import DreamResult, dream, octave_sizes
from dltool.featmap.excitation import (
    FourierImage,
    MaximizeResult,
    MaximizeStep,
    Objective,
    maximize,
    parse_objective,
    transform,
)
from dltool.featmap.filters import filter_weights, filters_pages
from dltool.featmap.relus import ReLUGradients, redirect
from dltool.featmap.settings import Channels, DreamSettings, Scale
from dltool.images.read import read_image
from dltool.images.tensors import resize_image, to_tensor
from tests.featmap.networks import CPU, RedMinusBlue, count_hooks, lite0, untrained, wrap


def test_maximized_red_is_red() -> None:
    network = wrap(RedMinusBlue(), size=32, classes=("red", "blue"))
    for text, channel in (("red", 0), ("maps:2", 2)):
        result = finish(maximize(network, parse_objective(network, text), DreamSettings(steps=80)))
        assert isinstance(result, MaximizeResult)
        means = result.image.mean((0, 2, 3))
        assert int(means.argmax()) == channel
        assert result.last > result.first + 0.1
    assert count_hooks(network.module) == 0


def test_class_of_the_bundled_network_becomes_its_answer() -> None:
    network = lite0()
    steps: list[MaximizeStep] = []
    result = finish(maximize(network, parse_objective(network, "daisy"), DreamSettings(steps=25)), steps.append)
    assert [step.step for step in steps] == list(range(1, 26))
    image = network.preprocessing.normalize(result.image)
    with torch.no_grad():
        answer = network.module(image).softmax(1)[0]
    assert network.class_name(int(answer.argmax())) == "daisy"
    again = finish(maximize(network, Objective("", 985, "daisy"), DreamSettings(steps=2)))
    once_more = finish(maximize(network, Objective("", 985, "daisy"), DreamSettings(steps=2)))
    torch.testing.assert_close(again.image, once_more.image, rtol=0, atol=0)


class OffAtFirst(nn.Module):
    """A unit that is off for grey images: without another gradient nothing ever switches it on."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = nn.ReLU(inplace=True)
        self.head = nn.Flatten()

    def forward(self, images):
        return self.head(self.unit(images[:, :1] - 0.7).mean((2, 3), keepdim=True))


def test_unit_that_is_off_is_switched_on() -> None:
    network = wrap(OffAtFirst(), size=32)
    result = finish(maximize(network, Objective("unit", 0, "unit:0"), DreamSettings(steps=40)))
    assert result.first == 0
    assert result.last > 0.02


def test_redirected_gradients_lead_back_only() -> None:
    before = torch.tensor([-2.0, -2.0, 3.0, 8.0, 8.0], requires_grad=True)
    with ReLUGradients(redirect) as relus:
        after = torch.nn.functional.relu6(before)
    assert after.tolist() == [0, 0, 3, 6, 6]
    assert relus.seen == 1
    after.backward(torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0]))
    assert before.grad.tolist() == [0, -1, 1, 1, 0]


def test_fourier_image_starts_grey_and_is_seeded() -> None:
    first, again, other = (FourierImage(32, 48, torch.Generator().manual_seed(seed), CPU)() for seed in (3, 3, 4))
    assert first.shape == (1, 3, 32, 48)
    assert (first - 0.5).abs().max() < 0.2
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_transform_keeps_size_and_mean() -> None:
    image = torch.rand(1, 3, 40, 40)
    moved = transform(image, torch.Generator().manual_seed(0))
    assert moved.shape == image.shape
    assert float(moved.mean()) == pytest.approx(float(image.mean()), abs=0.05)
    assert not torch.allclose(moved, image)


def test_objectives_that_do_not_exist() -> None:
    network = wrap(RedMinusBlue(), classes=("red", "blue"))
    with pytest.raises(SettingsError, match="maps has channels 0 to 2"):
        parse_objective(network, "maps:3")
    with pytest.raises(SettingsError, match="no such layer; did you mean 'maps'"):
        parse_objective(network, "map:1")
    with pytest.raises(SettingsError, match="no such class; did you mean 'blue'"):
        parse_objective(network, "blux")


def test_dream_excites_its_layer_and_stays_a_photo(sample_images) -> None:
    network = lite0()
    photo = resize_image(read_image(sample_images / "photos" / "cat.jpg"), 96)
    image = to_tensor(photo.pixels)
    result = finish(dream(network, image, "blocks.2.1", DreamSettings(steps=4, octaves=2)))
    assert isinstance(result, DreamResult)
    assert result.image.shape == image.shape
    assert result.last > 1.2 * result.first
    assert np.corrcoef(result.image.flatten(), image.flatten())[0, 1] > 0.7
    assert count_hooks(network.module) == 0


def test_dream_in_a_network_of_one_size_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="vit_tiny_patch16_224 cannot take it"):
        finish(dream(untrained("timm:vit_tiny_patch16_224"), torch.rand(1, 3, 80, 80), "blocks.3", DreamSettings()))


def test_octaves() -> None:
    assert octave_sizes((280, 140), 3) == [(143, 71), (200, 100), (280, 140)]
    assert octave_sizes((10, 10), 4) == [(10, 10)]


def test_filters_are_the_weights() -> None:
    network = untrained("resnet18", 64)
    name, weights = filter_weights(network)
    assert name == "conv1"
    np.testing.assert_array_equal(weights, network.module.conv1.weight.detach().numpy())
    (page,) = filters_pages(name, weights, "resnet18", Channels(indices=(5,)), Scale.EACH)
    expected = weights[5, :, 0, 0] / np.abs(weights[5]).max()
    color = np.rint(127.5 * (1 + expected)).astype(int)
    assert (np.abs(page.astype(int) - color).max(2) <= 1).sum() > 100  # one of 49 cells of 96 x 96 pixels
    with pytest.raises(SettingsError, match="a BatchNorm2d has no filters"):
        filter_weights(network, "bn1")
    with pytest.raises(SettingsError, match="a Linear that sees no image"):
        filter_weights(network, "fc")
    with pytest.raises(ModelError, match="no convolution"):
        filter_weights(wrap(nn.Sequential(nn.Flatten())))
    assert filter_weights(wrap(nn.Sequential(nn.Flatten(), nn.Linear(768, 2))))[1].shape == (2, 3, 16, 16)
