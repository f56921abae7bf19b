import gc
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.registry import create_backbone
from dltool.errors import ModelError, SettingsError
from dltool.stylize.features import FeatureNetwork, default_layers

pytestmark = pytest.mark.usefixtures("narrow_vgg")

CPU = torch.device("cpu")


def test_features_are_those_of_the_plain_network():
    backbone = create_backbone(DEFAULT_BACKBONE)
    image = torch.rand(1, 3, 64, 48)
    stages = torch.nn.Sequential(backbone.module.conv_stem, backbone.module.bn1, *backbone.module.blocks[:3])
    with torch.no_grad():
        expected = stages(backbone.preprocessing.normalize(image))
        with FeatureNetwork(backbone, CPU, ("blocks.2",), ("bn1",)) as network:
            features = network(image)
    assert list(features) == ["blocks.2", "bn1"]
    torch.testing.assert_close(features["blocks.2"], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "name", ["resnet18", "densenet121", "mobilenet_v3_small", "googlenet", "squeezenet1_1", "convnext_tiny", "alexnet"]
)
def test_every_kind_of_convolutional_network_has_default_layers_that_give_maps(name: str):
    backbone = create_backbone(name, "none")
    with FeatureNetwork(backbone, CPU) as network, torch.no_grad():
        features = network(torch.rand(1, 3, 96, 80))
    assert 2 <= len(network.style_layers) <= 5
    assert len(network.content_layers) == 1
    sizes = [features[layer].shape[-1] for layer in network.style_layers]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)


def test_vgg_has_the_literature_s_layers():
    content, style = default_layers(create_backbone("vgg16", "none").module)
    assert content == ("relu4_2",)
    assert style == ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


def test_a_transformer_is_refused_in_plain_words():
    with pytest.raises(SettingsError, match=r"--style-layers: .*no feature maps of several sizes"):
        FeatureNetwork(create_backbone("vit_b_32", "none"), CPU)
    with pytest.raises(SettingsError, match=r"layer heads: its output of shape .* is no feature map"):
        FeatureNetwork(create_backbone("vit_b_32", "none"), CPU, ("heads",), ("conv_proj",))
    with pytest.raises(SettingsError, match="takes pictures of 224 x 224 pixels only"):
        FeatureNetwork(create_backbone("vit_b_32", "none"), CPU, ("conv_proj",), ("conv_proj",))


def test_maps_with_the_channels_last_are_refused():
    with pytest.raises(SettingsError, match=r"layer features\.1: .*channels last"):
        FeatureNetwork(create_backbone("swin_t", "none"), CPU, ("features.1",), ("features.1",))


def test_a_file_with_the_convolutions_alone_is_enough_where_only_they_are_used(tmp_path: Path):
    tensors = create_backbone("vgg11", "none", seed=3).module.state_dict()
    path = tmp_path / "features.safetensors"
    save_file({name: t.half() for name, t in tensors.items() if name.startswith("features.")}, path)
    backbone = create_backbone("vgg11", str(path))
    assert len(backbone.missing) == 6
    with FeatureNetwork(backbone, CPU) as network, torch.no_grad():
        network(torch.rand(1, 3, 32, 32))
    with pytest.raises(ModelError, match=r"lacks classifier\.0\.weight and 1 more, which the layers asked for need"):
        FeatureNetwork(backbone, CPU, ("classifier.0",), ("relu1_1",))


def test_bf16_is_chosen_for_dense_networks_on_cpus_that_have_it_and_agrees(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dltool.device.has_fast_bf16", lambda device: True)
    vgg, lite0 = create_backbone("vgg11", "none"), create_backbone(DEFAULT_BACKBONE)
    assert not FeatureNetwork(lite0, CPU, bf16=None).bf16
    image = torch.rand(1, 3, 64, 64)
    same = create_backbone("vgg11", "none")
    with FeatureNetwork(vgg, CPU, bf16=None) as quick, FeatureNetwork(same, CPU) as exact, torch.no_grad():
        assert quick.bf16
        assert not exact.bf16
        for name, features in exact(image).items():
            assert (quick(image)[name].float() - features).norm() <= 0.02 * features.norm()
    monkeypatch.setattr("dltool.device.has_fast_bf16", lambda device: False)
    assert not FeatureNetwork(vgg, CPU, bf16=None).bf16


def test_a_network_whose_memory_was_measured_leaves_none_behind():
    backbone = create_backbone("squeezenet1_1", "none")
    with FeatureNetwork(backbone, CPU) as network:
        assert network.bytes_per_pixel > 100
        weight = weakref.ref(next(network._module.parameters()))
    del backbone, network
    gc.collect()
    assert weight() is None
