"""The loss in tiles against the loss at once, and both against plain restatements."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.registry import create_backbone
from dltool.errors import SettingsError
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.geometry import measure_geometry
from dltool.stylize.objective import Hold, Objective, Region
from dltool.stylize.settings import GramForm, LossForm, Pooling, StylizeSettings
from dltool.stylize.targets import style_grams
from dltool.stylize.tiles import cut_tiles

pytestmark = pytest.mark.usefixtures("narrow_vgg")

CPU = torch.device("cpu")
PLAIN = StylizeSettings()
EVERYTHING = replace(PLAIN, tv_weight=3.0, loss=LossForm.MSE, gram=GramForm.ELEMENTS, style_weight=1e4)


def _image(height: int, width: int, seed: int) -> Tensor:
    """Smooth noise that leaves [0, 1] here and there."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 8 + 2, width // 8 + 2, generator=generator) * 1.3 - 0.1
    fine = torch.rand(1, 3, height, width, generator=generator) * 0.2
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear") + fine


@pytest.fixture(scope="module")
def lite0():
    with FeatureNetwork(create_backbone(DEFAULT_BACKBONE), CPU) as network:
        yield network


def _both(network, size: tuple[int, int], side: int, settings: StylizeSettings, masked: bool = False):
    """Losses and gradient at once and in tiles, of an image that is neither the photo nor the painting."""
    height, width = size
    image, content, style = (_image(height, width, seed) for seed in (1, 2, 3))
    grams = style_grams(network, style, settings.gram)
    regions = [Region(grams)]
    if masked:
        ramp = torch.linspace(0, 1, width).expand(1, 1, height, width)
        other = style_grams(network, _image(90, 120, 4), settings.gram)
        regions = [Region(grams, ramp), Region(other, 1 - ramp)]
    hold = Hold(content, ramp) if masked else None
    with torch.no_grad():
        features = network(style)
    motifs = {name: features[name] for name in network.content_layers} if masked else None
    whole = Objective(network, content, regions, settings, None, hold, motifs)
    tiled = Objective(network, content, regions, settings, side, hold, motifs)
    assert len(whole._tiles) == 1
    assert len(tiled._tiles) > 1
    return whole.evaluate(image), tiled.evaluate(image)


def _assert_equal(whole, tiled) -> None:
    (losses, gradient), (tiled_losses, tiled_gradient) = whole, tiled
    torch.testing.assert_close(torch.tensor(tiled_losses), torch.tensor(losses), rtol=1e-5, atol=0)
    assert (tiled_gradient - gradient).norm() <= 1e-5 * gradient.norm()


@pytest.fixture(scope="module")
def shallow():
    """Layers up to a stride of 8, whose receptive field is small: quick in two dimensions."""
    with FeatureNetwork(create_backbone(DEFAULT_BACKBONE), CPU, ("blocks.1.1",), ("bn1", "blocks.2.0")) as network:
        yield network


@pytest.mark.parametrize("size", [(60, 480), (67, 475)])
def test_loss_and_gradient_in_tiles_are_those_of_the_whole_image(lite0, size: tuple[int, int]):
    _assert_equal(*_both(lite0, size, 464, PLAIN))


@pytest.mark.parametrize("settings", [PLAIN, EVERYTHING], ids=["default", "everything"])
def test_tiles_in_two_dimensions(shallow, settings: StylizeSettings):
    _assert_equal(*_both(shallow, (161, 183), 112, settings))


def test_masks_holds_and_motifs_in_tiles_are_those_of_the_whole_image(shallow):
    _assert_equal(*_both(shallow, (90, 203), 112, replace(PLAIN, motif_weight=0.5), masked=True))


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("vgg11", ("relu1_1", "relu3_1")),
        ("resnet18", ("relu", "layer2")),
        ("squeezenet1_1", ("features.1", "features.7")),  # convolutions without padding, poolings rounded up
    ],
)
@pytest.mark.parametrize("pooling", list(Pooling))
def test_other_networks_can_be_tiled(name: str, layers: tuple[str, ...], pooling: Pooling):
    with FeatureNetwork(create_backbone(name, "none"), CPU, layers[-1:], layers, pooling=pooling) as network:
        assert network.tiles_agree
        side = 2 * network.geometry.halo + 32
        _assert_equal(*_both(network, (45, side + 51), side, PLAIN))


@pytest.mark.parametrize(
    ("name", "layers", "strides"),
    [
        ("squeezenet1_0", ("features.1", "features.5", "features.12"), (2, 4, 16)),
        ("alexnet", ("features.0", "features.5", "features.12"), (4, 16, 32)),
        ("mobilenet_v2", ("features.1", "features.18"), (2, 32)),  # sums beyond the ceiling of a ReLU6
    ],
)
def test_strides_are_those_of_the_layers_whatever_the_size_of_the_maps(name: str, layers, strides):
    with FeatureNetwork(create_backbone(name, "none"), CPU, layers[-1:], layers) as network:
        assert tuple(network.geometry.strides[layer] for layer in layers) == strides
        assert network.tiles_agree


def test_layers_that_need_a_high_image_are_measured_on_one():
    layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Conv2d(4, 4, (80, 5), 2))
    geometry = measure_geometry(layers.eval(), {"first": "0", "second": "1"})
    assert geometry.strides == {"first": 1, "second": 2}
    assert geometry.halo == 4  # of 7 columns 1 lies left of the 2 that are its own, and 4 right of them


class _Windows(torch.nn.Module):
    """The mean of every window of 6 x 6 pixels counted from the image's corner, laid back over the window."""

    def forward(self, images: Tensor) -> Tensor:
        means = (
            torch.nn.functional.avg_pool2d(images, 6, ceil_mode=True).repeat_interleave(6, 2).repeat_interleave(6, 3)
        )
        return means[..., : images.shape[2], : images.shape[3]]


def test_a_network_that_sees_tiles_differently_is_found_out():
    layers = [torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Conv2d(4, 4, 3, 2, 1), _Windows()]
    backbone = replace(create_backbone("squeezenet1_1", "none"), module=torch.nn.Sequential(*layers).eval())
    content = _image(20, 200, 1)
    for layer, seams in (("1", False), ("2", True)):
        with FeatureNetwork(backbone, CPU, (layer,), ("0", layer)) as network:
            regions = [Region(style_grams(network, content))]
            assert not Objective(network, content, regions, PLAIN).seams
            assert Objective(network, content, regions, PLAIN, 60).seams == seams


def test_a_network_that_sees_everything_at_once_cannot_be_tiled():
    with (
        FeatureNetwork(create_backbone("mobilenet_v3_small", "none"), CPU) as network,
        pytest.raises(SettingsError, match="see the whole picture at once"),
    ):
        _ = network.geometry


def test_the_halo_is_the_receptive_field(lite0):
    # Lite0 to blocks.4.2 by hand: kernels 3 3 3 3 5 5 3 3 3 5 5 5 at strides 1 2 2 4 4 8 8 16 16 16 16 16.
    reach = sum(
        (k - 1) // 2 * s
        for k, s in zip((3, 3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5), (1, 2, 2, 4, 4, 8, 8, *[16] * 5), strict=True)
    )
    assert reach <= lite0.geometry.halo < reach + 2 * 16
    assert lite0.geometry.total_stride == 16


def test_tiles_cover_every_pixel_once_and_keep_the_parity_of_the_whole(lite0):
    for length in (517, 640, 1001):
        tiles = cut_tiles(length, length, 420, lite0.geometry)
        covered = torch.zeros(length, length)
        for tile in tiles:
            covered[tile.rows.inside, tile.columns.inside] += 1
            assert (tile.rows.outer[1] - tile.rows.outer[0] - length) % 16 == 0
            assert tile.rows.outer[0] % 16 == 0
        assert torch.equal(covered, torch.ones_like(covered))


def test_out_of_memory_halves_the_tile_and_gives_the_same_losses(shallow, monkeypatch: pytest.MonkeyPatch):
    image, content = _image(40, 300, 1), _image(40, 300, 2)
    regions = [Region(style_grams(shallow, _image(64, 64, 3)))]
    expected = Objective(shallow, content, regions, PLAIN).evaluate(image)
    plain = FeatureNetwork.__call__

    def small_memory(network, piece):
        if piece.shape[-1] > 180:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return plain(network, piece)

    monkeypatch.setattr(FeatureNetwork, "__call__", small_memory)
    objective = Objective(shallow, content, regions, PLAIN)
    assert objective.tile_side == 150
    _assert_equal(expected, objective.evaluate(image))


def test_the_gradient_is_that_of_finite_differences(lite0):
    image, content = _image(48, 64, 1), _image(48, 64, 2)
    objective = Objective(lite0, content, [Region(style_grams(lite0, _image(64, 64, 3)))], PLAIN)
    _, gradient = objective.evaluate(image)
    step = 0.002 * gradient / gradient.norm()
    rise = objective.evaluate(image + step)[0][0].total - objective.evaluate(image - step)[0][0].total
    assert rise / 2 == pytest.approx((gradient * step).sum().item(), rel=0.02)
