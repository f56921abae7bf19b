"""Every control does to the image what it says."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.registry import create_backbone
from dltool.errors import SettingsError
from dltool.events import finish
from dltool.images.read import read_image
from dltool.images.tensors import resize_image, to_tensor
from dltool.settings import as_plain, read_names
from dltool.stylize.colors import color_statistics, luminance
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.optimize import StyleTargets, StylizeResult, stylize
from dltool.stylize.settings import PreserveColor, StylizeSettings, split_weights
from dltool.stylize.targets import style_grams

CPU = torch.device("cpu")
QUICK = StylizeSettings(size=96, steps=12, scales=1)


@pytest.fixture(scope="module")
def images(sample_images) -> tuple[Tensor, Tensor, Tensor]:
    names = ("photos/cat.jpg", "styles/night_swirls.jpg", "styles/bold_shapes.jpg")
    return tuple(to_tensor(resize_image(read_image(sample_images / name), 96).pixels) for name in names)


def _run(network, content: Tensor, styles, settings: StylizeSettings, mask: Tensor | None = None) -> StylizeResult:
    return finish(stylize(content, styles, network, settings, CPU, mask=mask))


def test_a_blend_s_targets_are_the_weighted_mean_and_one_of_a_kind_is_itself(network, images):
    _, first, second = images
    blend = StyleTargets(network, [(first, 3.0), (second, 1.0)]).at(96, CPU)
    alone = [style_grams(network, image) for image in (first, second)]
    for name, matrix in blend.items():
        torch.testing.assert_close(matrix, 0.75 * alone[0][name] + 0.25 * alone[1][name])
    same = StyleTargets(network, [(first, 2.0), (first, 5.0)]).at(96, CPU)
    torch.testing.assert_close(same, StyleTargets(network, first).at(96, CPU))


def test_targets_of_a_large_painting_in_tiles_are_those_of_the_whole(network):
    image = torch.rand(1, 3, 60, 500, generator=torch.Generator().manual_seed(0))
    tiled, whole = style_grams(network, image, tile_side=470), style_grams(network, image)
    for name, matrix in whole.items():
        assert float((tiled[name] - matrix).norm() / matrix.norm()) < 1e-5


def test_a_blend_s_colours_are_those_of_the_images_side_by_side(network, images):
    _, first, second = images
    mixed = StyleTargets(network, [(first, 1.0), (second, 1.0)]).colors
    second = torch.nn.functional.interpolate(second, first.shape[2:])
    both = color_statistics(torch.cat([first, second], -1))
    torch.testing.assert_close(mixed.mean, both.mean, rtol=0.02, atol=0)
    torch.testing.assert_close(mixed.covariance, both.covariance, rtol=0.1, atol=1e-3)


def test_strength_zero_gives_the_photo_and_more_of_it_more_style(network, images):
    content, style, _ = images
    losses = {}
    for strength in (0.0, 0.5, 1.0):
        result = _run(network, content, StyleTargets(network, style), replace(QUICK, strength=strength))
        target, own = style_grams(network, style), style_grams(network, result.image)
        losses[strength] = sum(((own[name] - target[name]).norm() / target[name].norm()).item() for name in target)
        if strength == 0:
            assert (result.image - content).abs().max() < 1 / 255
    assert losses[0.0] > 1.1 * losses[0.5] > 1.1**2 * losses[1.0]


def test_luminance_keeps_the_chroma_and_histogram_the_colours(network, images):
    content, style, _ = images
    targets = StyleTargets(network, style)
    result = _run(network, content, targets, replace(QUICK, preserve_color=PreserveColor.LUMINANCE)).image
    inside = ((result > 0) & (result < 1)).all(1)
    assert inside.float().mean() > 0.5
    chroma = (result - luminance(result) - content + luminance(content)).abs().amax(1)[inside]
    assert chroma.max() < 1e-4
    assert (luminance(result) - luminance(content)).abs().mean() > 0.01
    own = color_statistics(content).mean
    plain = _run(network, content, targets, QUICK).image
    kept = _run(network, content, targets, replace(QUICK, preserve_color=PreserveColor.HISTOGRAM)).image
    assert (color_statistics(kept).mean - own).norm() < 0.3 * (color_statistics(plain).mean - own).norm()


def test_a_grey_mask_keeps_the_photo_where_it_is_black(network, images):
    content, style, _ = images
    mask = torch.zeros(1, 1, *content.shape[2:])
    mask[..., 48:] = 1
    result = _run(network, content, StyleTargets(network, style), QUICK, mask).image
    assert torch.equal(result[..., :48], content[..., :48])
    assert (result[..., 48:] - content[..., 48:]).abs().mean() > 0.05


def test_each_region_takes_its_own_style(network, images):
    content, first, second = images
    left = torch.zeros(1, 1, *content.shape[2:])
    left[..., :48] = 1
    targets = [StyleTargets(network, first), StyleTargets(network, second)]
    result = _run(network, content, targets, replace(QUICK, steps=25), torch.cat([left, 1 - left], 1)).image

    def distance(half: Tensor, style: Tensor) -> float:
        own, target = style_grams(network, half), style_grams(network, style)
        return sum(((own[name] - target[name]).norm() / target[name].norm()).item() for name in target)

    assert distance(result[..., :48], first) < 0.8 * distance(result[..., :48], second)
    assert distance(result[..., 48:], second) < 0.8 * distance(result[..., 48:], first)


def test_style_scale_changes_the_target_s_size_only(network, images):
    content, style, _ = images
    targets = StyleTargets(network, style)
    seen = []
    plain = targets.at
    targets.at = lambda side, *more: seen.append(side) or plain(side, *more)
    result = _run(network, content, targets, replace(QUICK, style_scale=0.5, steps=2))
    assert seen == [48]
    assert result.image.shape == content.shape


def test_layer_weights_count(network, images):
    content, style, _ = images
    names = ("bn1", "blocks.2.0")
    with FeatureNetwork(create_backbone(DEFAULT_BACKBONE), CPU, ("blocks.1.1",), names) as few:
        first = {}
        for weights in ((), (1.0, 0.0), (0.0, 2.0), (1.0, 1.0)):
            settings = replace(QUICK, steps=1, style_layers=names, style_layer_weights=weights, init="content")
            first[weights] = _run(few, content, StyleTargets(few, style), settings).style_loss
    assert first[()] == pytest.approx(first[1.0, 1.0])
    assert first[()] == pytest.approx((first[1.0, 0.0] + first[0.0, 2.0]) / 2)
    assert first[1.0, 0.0] != pytest.approx(first[0.0, 2.0])


def test_layers_with_weights_are_read():
    assert split_weights(read_names("relu1_1:0.5, relu3_1"), "") == (("relu1_1", "relu3_1"), (0.5, 1.0))
    assert split_weights(read_names("a,b"), "") == (("a", "b"), ())
    assert split_weights((), "") == ((), ())
    with pytest.raises(SettingsError, match="--style-layers a:x: 'x' is no weight"):
        split_weights(("a:x",), "--style-layers")
    with pytest.raises(SettingsError, match="--style-layers :2: names no layer"):
        StylizeSettings(style_layers=(":2",))
    settings = StylizeSettings(content_layers=("a:3", "b"))
    assert (settings.content_layers, settings.content_layer_weights) == (("a", "b"), (3.0, 1.0))
    assert StylizeSettings(**as_plain(settings)) == settings
    with pytest.raises(SettingsError, match="not all of them 0"):
        StylizeSettings(style_layers=("a",), style_layer_weights=(0.0,))
