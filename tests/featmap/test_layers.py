"""Layers: real shapes, receptive fields against the literature and against gradients, near names."""

import pytest
import torch
from torch import nn

from dltool.backbones.layers import match_layers
from dltool.backbones.receptive import ReceptiveFields
from dltool.errors import SettingsError
from dltool.featmap.layers import Kind, classify, default_layers, last_maps, list_layers
from tests.featmap.networks import count_hooks, untrained, wrap


def by_name(network):
    return {layer.name: layer for layer in list_layers(network)}


@pytest.mark.parametrize(
    ("backbone", "size", "layer", "field"),
    # Araujo, Norris & Sim 2019, table of receptive fields; ResNet-18's is that of its convolutions' arithmetic.
    [
        ("alexnet", 96, "features", 195),
        ("vgg16", 64, "features", 212),
        ("inception_v3", 96, "Mixed_7c", 1311),
        ("resnet18", 64, "layer4", 435),
    ],
)
def test_receptive_fields_are_the_literature_s(backbone: str, size: int, layer: str, field: int) -> None:
    assert by_name(untrained(backbone, size))[layer].receptive_field == field


def test_receptive_field_is_where_a_unit_s_gradient_reaches() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.Conv2d(4, 4, 3, dilation=2, padding=2, groups=4),
        nn.AvgPool2d(2),
        nn.ConvTranspose2d(4, 4, 2, stride=2),
        nn.Conv2d(4, 2, 5, padding=2),
    )
    for parameter in module.parameters():
        nn.init.uniform_(parameter, 0.1, 1.0)  # no two contributions cancel
    images = torch.rand(1, 3, 64, 64)
    with ReceptiveFields() as fields, torch.no_grad():
        output = module(fields.start(images.clone()))
        field = fields.of(output)
    leaf = images.clone().requires_grad_()
    answer = module(leaf)
    reached = []
    for row in range(12, 20):  # the reach differs by the phase of the strides: the field is the widest
        gradient = torch.autograd.grad(answer[0, 0, row, 16], leaf, retain_graph=True)[0]
        rows = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
        reached.append(int(rows[-1] - rows[0]) + 1)
    assert field.stride == (2, 2)
    assert max(reached) <= field.size[0] <= max(reached) + 2 * field.stride[0]


def test_table_of_resnet18() -> None:
    network = untrained("resnet18", 64)
    layers = by_name(network)
    assert layers["conv1"].shapes == ((64, 32, 32),)
    assert layers["conv1"].receptive_field == 7
    assert layers["layer2.0.conv1"].stride == 8
    assert layers["layer4"].shapes == ((512, 2, 2),)
    assert layers["fc"].kind is Kind.VECTOR
    assert layers["fc"].sees_all
    tops = [layer for name, layer in layers.items() if "." not in name]
    assert sum(layer.parameters for layer in tops) == sum(p.numel() for p in network.module.parameters())
    assert count_hooks(network.module) == 0


def test_defaults_are_blocks_from_first_to_last() -> None:
    assert default_layers(list_layers(untrained("resnet18", 64))) == (
        *("conv1", "layer1.0", "layer1.1", "layer2.0", "layer3.0", "layer3.1", "layer4.0", "layer4.1"),
    )
    transformer = default_layers(list_layers(untrained("timm:vit_tiny_patch16_224")))
    assert transformer[0] == "patch_embed"
    assert transformer[-2:] == ("blocks.11", "blocks.11.attn")


def test_last_map_is_no_pooling() -> None:
    assert last_maps(list_layers(untrained("resnet18", 64)))[0] == "layer4"
    assert last_maps(list_layers(untrained("squeezenet1_0", 64)))[0] == "classifier.2"


def test_network_without_maps_says_so() -> None:
    network = wrap(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4)))
    assert default_layers(list_layers(network)) == ("1",)  # whose numbers are drawn
    with pytest.raises(SettingsError, match="no layer with a map"):
        last_maps(list_layers(network))


def test_patterns_and_near_names() -> None:
    network = untrained("resnet18", 64)
    names = [layer.name for layer in list_layers(network)]
    assert list(match_layers(network.module, ["layer3.?"], "--layer", names)) == ["layer3.0", "layer3.1"]
    with pytest.raises(SettingsError, match=r"--layer layer3\.2: no such layer; did you mean 'layer3\.\d"):
        match_layers(network.module, ["layer3.2"], "--layer", names)
    with pytest.raises(SettingsError, match="matches no layer"):
        match_layers(network.module, ["conv9*"], "--layer", names)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((2, 8, 7, 5), Kind.MAP),
        ((2, 7, 7, 96), Kind.MAP),
        ((2, 50, 32), Kind.TOKENS),
        ((2, 198, 32), Kind.TOKENS),
        ((2, 12, 1, 1), Kind.VECTOR),
        ((2, 12), Kind.VECTOR),
        ((128, 49, 96), Kind.OTHER),
        ((2, 3, 4, 5, 6), Kind.OTHER),
    ],
)
def test_outputs_are_told_apart(shape: tuple[int, ...], kind: Kind) -> None:
    found, grid = classify(nn.Module(), torch.zeros(shape), batch=2)
    assert found is kind
    if shape == (2, 7, 7, 96):
        assert grid.channels_last
    if shape == (2, 198, 32):
        assert (grid.height, grid.prefix) == (14, 2)


def test_size_that_does_not_fit_is_named() -> None:
    with pytest.raises(SettingsError, match="--size 100: vit_b_32 cannot take it"):
        list_layers(untrained("vit_b_32", 100))
