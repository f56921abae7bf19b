import pytest
import torch
from torch import nn

from dltool.backbones.layers import resolve_layers, vgg_aliases
from dltool.backbones.registry import create_backbone
from dltool.backbones.taps import Taps, modules_run
from dltool.errors import ModelError, SettingsError


@pytest.fixture(scope="module")
def vgg(narrow_vgg: None) -> nn.Module:
    return create_backbone("vgg11", "none").module.requires_grad_(False)


def _hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def test_outputs_are_those_of_a_plain_forward_pass_in_place_relu_included(vgg: nn.Module):
    images = torch.rand(2, 3, 48, 40)
    expected, value = {}, images
    for index, layer in enumerate(vgg.features[:9]):
        value = layer(value)
        expected[f"features.{index}"] = value = value.clone()
    # A plain pass needs its own copy of each output before the next layer works on it.
    names = [f"features.{index}" for index in (0, 1, 3, 6, 8)]
    convolutions = {"features.0": vgg.features[0](images)}
    with Taps(vgg, names) as taps:
        for _ in range(2):
            outputs = taps(images)
            assert list(outputs) == names
            torch.testing.assert_close(outputs["features.0"], convolutions["features.0"])
            assert (outputs["features.0"] < 0).any(), "the ReLU behind the convolution overwrote the tap"
            for name in ("features.1", "features.8"):
                torch.testing.assert_close(outputs[name].relu(), expected[name].relu())


def test_only_what_would_be_overwritten_is_cloned(vgg: nn.Module):
    with Taps(vgg, ["features.0", "features.2"]) as taps:
        taps(torch.rand(1, 3, 32, 32))
        assert taps._overwritten == {"features.0"}


def test_the_pass_ends_with_the_last_tap(vgg: nn.Module):
    ran = modules_run(vgg, ["features.3"], torch.rand(1, 3, 32, 32))
    assert "features.3" in ran
    assert "features.4" not in ran
    assert "classifier.0" not in ran


def test_a_image_too_small_for_the_layers_behind_the_taps_will_do(vgg: nn.Module):
    with Taps(vgg, ["features.0"]) as taps:
        assert taps(torch.rand(1, 3, 8, 8))["features.0"].shape == (1, 64, 8, 8)


def test_a_layer_that_runs_several_times_gives_its_last_output():
    model = create_backbone("resnet18", "none").module
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad(), Taps(model, ["layer1.0.relu", "layer1.0"]) as taps:
        for _ in range(2):
            outputs = taps(images)
            torch.testing.assert_close(outputs["layer1.0.relu"], outputs["layer1.0"])


def test_gradients_reach_the_image_and_equal_the_plain_ones(vgg: nn.Module):
    images = torch.rand(1, 3, 16, 16, requires_grad=True)
    vgg.features[0](images).square().sum().backward()
    expected, images.grad = images.grad, None
    with Taps(vgg, ["features.0"]) as taps:
        taps(images)["features.0"].square().sum().backward()
    torch.testing.assert_close(images.grad, expected)


def test_inference_mode_works(vgg: nn.Module):
    with torch.inference_mode(), Taps(vgg, ["features.0"]) as taps:
        assert (taps(torch.rand(1, 3, 16, 16))["features.0"] < 0).any()


def test_hooks_are_gone_afterwards_even_after_an_error(vgg: nn.Module):
    with pytest.raises(RuntimeError), Taps(vgg, ["features.0"]) as taps:
        taps(torch.rand(1, 4, 16, 16))
    assert _hooks(vgg) == 0


def test_outputs_that_are_no_tensor_and_layers_never_reached_are_named():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 4)
            self.unused = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(x)[0]

    model = Odd()
    with pytest.raises(ModelError, match="layer lstm: its output is a tuple"), Taps(model, ["lstm"]) as taps:
        taps(torch.rand(2, 1, 4))
    with pytest.raises(ModelError, match=r"layer unused: .* does not reach it"), Taps(model, ["unused"]) as taps:
        taps(torch.rand(2, 1, 4))


def test_vgg_answers_to_the_literature_s_names(narrow_vgg: None):
    vgg19 = create_backbone("vgg19", "none").module
    names = resolve_layers(
        vgg19, ["conv1_1", "relu4_1", "conv4_2", "pool3", "conv_4", "features.5"], "--content-layers"
    )
    assert names == {
        "conv1_1": "features.0",
        "relu4_1": "features.20",
        "conv4_2": "features.21",
        "pool3": "features.18",
        "conv_4": "features.7",
        "features.5": "features.5",
    }
    assert vgg_aliases(create_backbone("resnet18", "none").module) == {}


def test_a_layer_that_does_not_exist_suggests_near_ones(vgg: nn.Module):
    with pytest.raises(SettingsError, match="--style-layers conv4_9: no such layer; did you mean 'conv4_"):
        resolve_layers(vgg, ["conv4_9"], "--style-layers")
    with pytest.raises(SettingsError, match="--content-layers nope: no such layer; the network has conv1_1"):
        resolve_layers(vgg, ["nope"], "--content-layers")


def test_answer_s_gradient_reaches_a_layer_that_is_overwritten() -> None:
    torch.manual_seed(0)
    first, head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)
    model = nn.Sequential(first, nn.ReLU(inplace=True), head)
    images = torch.randn(1, 3, 8, 8)
    with Taps(model, ["0", ""]) as taps:
        for _ in range(2):  # the pass that learns about the overwriting, and one that knows
            outputs = taps(images)
            found = torch.autograd.grad(outputs[""].sum(), outputs["0"])[0]
            before = first(images)
            expected = torch.autograd.grad(head(before.relu()).sum(), before)[0]
            torch.testing.assert_close(outputs["0"], before)
            torch.testing.assert_close(found, expected)
