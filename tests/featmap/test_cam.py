"""Class activation maps against captum, against plain loops, and on a network whose answer is known."""

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam

from dltool.events import finish
from dltool.featmap import cam
from dltool.featmap.layers import list_layers
from dltool.featmap.methods import explain
from dltool.featmap.settings import LAYER_METHODS, Method, WhySettings
from dltool.featmap.targets import Target
from tests.featmap.networks import RedMinusBlue, count_hooks, lite0, photo, red_left_blue_right, untrained, wrap


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize(("make", "layer"), [(lite0, "bn2"), (lambda: untrained("resnet18", 96), "layer4")])
def test_gradcam_is_captum_s(make, layer: str, sample_images) -> None:
    network = make()
    _, images = photo(network, sample_images / "photos" / "cat.jpg")
    for index in (281, 7):
        activation, gradient = cam.activations_and_gradients(network.module, images, [Target(index)], layer)
        expected = LayerGradCam(network.module, network.module.get_submodule(layer)).attribute(
            images, target=index, relu_attributions=True
        )
        assert relative_error(cam.gradcam(activation, gradient), expected.detach()[:, 0]) < 1e-4
    assert count_hooks(network.module) == 0


@pytest.mark.parametrize("method", [m for m in LAYER_METHODS if m is not Method.EIGENCAM])
def test_red_is_why_it_is_red(method: Method) -> None:
    network = wrap(RedMinusBlue(), classes=("red", "blue"))
    image = red_left_blue_right()
    # The convolution in front of an in-place ReLU: its own output, and the gradient with respect to it.
    for index, half in ((0, slice(0, 8)), (1, slice(8, 16))):
        heat = finish(explain(network, image, [Target(index)], method, WhySettings(), "maps"))[0].values
        share = heat[:, half].sum() / heat.sum()
        assert share > (0.6 if method is Method.SCORECAM else 0.999)


def test_gradcam_of_the_known_network_in_numbers() -> None:
    network = wrap(RedMinusBlue())
    image = red_left_blue_right()
    activation, gradient = cam.activations_and_gradients(network.module, image, [Target(0)], "maps")
    torch.testing.assert_close(activation, image)
    # d score / d red is 1 / 256 wherever the ReLU passes it: in the red half.
    torch.testing.assert_close(cam.gradcam(activation, gradient), image[:, 0] / 512)
    contrast = cam.activations_and_gradients(network.module, image, [Target(1, against=0)], "maps")
    torch.testing.assert_close(cam.gradcam(*contrast), image[:, 2] / 512)


def test_gradcam_plus_plus_and_layercam_are_their_formulas() -> None:
    torch.manual_seed(0)
    activation, gradient = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    plus, layer = torch.zeros(2, 4, 4), torch.zeros(2, 4, 4)
    for n in range(2):
        for k in range(3):
            total = activation[n, k].sum()
            weight = 0.0
            for g in gradient[n, k].flatten():
                weight += g**2 / (2 * g**2 + total * g**3) * max(g, 0)
            plus[n] += weight * activation[n, k]
            layer[n] += gradient[n, k].clamp(min=0) * activation[n, k]
    torch.testing.assert_close(cam.gradcam_plus_plus(activation, gradient), plus.relu())
    torch.testing.assert_close(cam.layercam(activation, gradient), layer.relu())
    assert cam.gradcam_plus_plus(activation, torch.zeros_like(gradient)).eq(0).all()


def test_eigencam_is_the_first_singular_vector() -> None:
    rng = np.random.default_rng(0)
    activation = rng.random((5, 4, 6)).astype(np.float32)
    rows = activation.reshape(5, 24).T
    _, _, v = np.linalg.svd(rows, full_matrices=False)
    expected = np.abs(rows @ v[0]).reshape(4, 6)
    np.testing.assert_allclose(cam.eigencam(torch.from_numpy(activation)[None])[0], expected, rtol=1e-4)


def test_scorecam_is_a_plain_loop(sample_images) -> None:
    network = untrained("squeezenet1_0", 64)
    _, image = photo(network, sample_images / "photos" / "cat.jpg")
    activation = cam.activations_and_gradients(network.module, image, [Target(3)], "features.3")[0][0]
    found = finish(cam.scorecam(network, image, Target(3), activation, batch_size=7))
    expected = torch.zeros_like(activation[0])
    for channel in activation:
        if channel.max() > channel.min():
            mask = (channel - channel.min()) / (channel.max() - channel.min())
            with torch.no_grad():
                answer = network.module(image * cam.enlarge(mask[None], (64, 64))[0])
            expected += answer.softmax(1)[0, 3] * channel
    assert relative_error(found, expected.relu()) < 1e-4


def test_transformer_s_layer_is_one_that_the_answer_depends_on() -> None:
    network = untrained("timm:vit_tiny_patch16_224")
    torch.nn.init.normal_(network.module.head.weight, std=0.02)
    images = torch.randn(1, 3, 224, 224)
    layer = cam.choose_layer(network, list_layers(network), images, [Target(0)])
    # Behind the last attention only the class token is read.
    assert layer == "blocks.11.norm1"
    _, gradient = cam.activations_and_gradients(network.module, images, [Target(0)], layer)
    assert gradient.abs().sum() > 0
