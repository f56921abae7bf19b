"""Extractors: sizes, resizing, layers; the figure that training watches; nearest training images."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from dltool.backbones.registry import create_backbone
from dltool.errors import SettingsError
from dltool.gan.features import QUICK_EXTRACTOR, Extractor
from dltool.gan.nearest import find_nearest, nearest_sheet
from dltool.gan.quality import QualityMeter

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def digits() -> Tensor:
    """The real digits, N × 1 × 8 × 8 uint8."""
    return torch.from_numpy(load_digits().images * (255 / 16)).round().to(torch.uint8)[:, None]


def test_features_are_the_networks_own(digits: Tensor):
    images = torch.randint(0, 256, (3, 3, 64, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    extractor = Extractor("efficientnet_lite0", 32, CPU)
    assert (extractor.dim, extractor.side) == (1280, 64)
    module = create_backbone("efficientnet_lite0").module
    with torch.no_grad():
        # The package's own preprocessing is (x - 0.5) / 0.5.
        expected = module.forward_head(module.forward_features(images / 127.5 - 1), pre_logits=True)
    assert torch.allclose(extractor(images), expected, atol=2e-3)
    grey = extractor(digits[:2])
    assert torch.allclose(grey, extractor(digits[:2].expand(-1, 3, -1, -1)), atol=1e-5)


def test_a_layers_features_are_its_average_over_the_image(digits: Tensor):
    extractor = Extractor("efficientnet_lite0:blocks.4", 8, CPU)
    module = create_backbone("efficientnet_lite0").module
    images = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    with torch.no_grad():
        x = module.bn1(module.conv_stem(images / 127.5 - 1))
        for stage in module.blocks[:5]:
            x = stage(x)
    assert extractor.dim == 112
    assert torch.allclose(extractor(images), x.mean((2, 3)), atol=2e-3)


def test_the_network_looks_at_small_images_at_twice_their_size():
    layer = "efficientnet_lite0:blocks.1"
    sides = [Extractor(layer, size, CPU).side for size in (28, 64, 500)]
    assert sides == [64, 128, 224]
    assert Extractor("squeezenet1_1", 28, CPU, weights="none").side == 224
    assert Extractor(layer, 28, CPU, "default", 96).side == 96
    with pytest.raises(SettingsError, match="--input-size 40: timm:vit_tiny_patch16_224 cannot take it"):
        Extractor("timm:vit_tiny_patch16_224", 28, CPU, "none", 40)


def test_the_meter_tells_good_from_bad_and_collapsed(digits: Tensor):
    meter = QualityMeter(digits[::2], CPU, seed=0)
    assert (meter.name, meter.extractor.name) == ("frechet", QUICK_EXTRACTOR)
    good = meter(digits[1::2][:400])
    noise = meter(torch.randint(0, 256, (400, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8))
    collapsed = meter(digits[:1].repeat(400, 1, 1, 1))
    assert good.figure < 0.1 * min(noise.figure, collapsed.figure)
    assert good.diversity == pytest.approx(1, abs=0.1)
    assert collapsed.diversity < 0.01


def test_the_meter_of_few_images_is_the_kid(digits: Tensor):
    meter = QualityMeter(digits[:40], CPU, seed=0)
    assert meter.name == "kid"
    assert abs(meter(digits[40:200]).figure) < 0.1 * meter(255 - digits[40:200]).figure


def test_nearest_images(digits: Tensor):
    training, made = digits[:600], digits[600:640].clone()
    made[7] = training[413]
    found = find_nearest(made, training)
    expected = torch.cdist(made.flatten(1).float(), training.flatten(1).float()).min(1)
    assert torch.equal(found.neighbours, training[expected.indices])
    assert torch.allclose(found.distances, expected.values / 255 / 8, atol=1e-5)
    assert found.distances.argmin() == 7
    assert found.distances[7] == 0
    large = torch.nn.functional.interpolate(made.float(), (96, 96)).to(torch.uint8)
    assert find_nearest(large, large).distances.max() == 0
    page = nearest_sheet(found)
    assert page.ndim == 3
    assert page.shape[1] > 8 * 2 * 96
