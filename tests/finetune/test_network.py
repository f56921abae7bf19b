"""Bodies, blocks and freezing."""

import pytest
import torch
from torch import nn

from dltool.backbones.pooled import remove_classifier
from dltool.backbones.registry import create_backbone
from dltool.errors import ModelError
from dltool.finetune.network import (
    Classifier,
    MultiScale,
    Standardize,
    build_classifier,
    find_blocks,
    loose_parameters,
    new_head,
)
from dltool.finetune.settings import Head
from dltool.finetune.small import small_body


@pytest.mark.parametrize(
    ("name", "dim"), [("resnet18", 512), ("squeezenet1_1", 512), ("vgg11", 4096), ("efficientnet_lite0", 1280)]
)
def test_removing_the_classifier_leaves_the_features(name: str, dim: int) -> None:
    body, found, layer = remove_classifier(create_backbone(name, "none"))
    with torch.no_grad():
        assert body.eval()(torch.zeros(1, 3, 224, 224)).shape == (1, dim)
    assert found == dim
    assert (layer is None) == (name == "squeezenet1_1")


def test_the_removed_layer_gives_the_networks_own_answer() -> None:
    backbone = create_backbone("resnet18", "none", seed=1)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = backbone.module(images)
        body, _, layer = remove_classifier(backbone)
        assert torch.equal(layer(body(images)), expected)


def test_blocks_are_named_and_cover_every_parameter_once() -> None:
    body, _, _ = remove_classifier(create_backbone("resnet18", "none"))
    blocks = find_blocks(body)
    assert [block.name for block in blocks] == ["conv1", "layer1", "layer2", "layer3", "layer4"]
    numbers = [id(p) for block in blocks for p in block.parameters()]
    assert sorted(numbers) == sorted(id(p) for p in body.parameters())
    lite0, _, _ = remove_classifier(create_backbone("efficientnet_lite0", "none"))
    assert [block.name for block in find_blocks(lite0)][:2] == ["conv_stem", "blocks.0"]
    assert not loose_parameters(lite0, find_blocks(lite0))


def test_frozen_batch_norm_stays_still_while_the_rest_trains() -> None:
    body, dim, _ = remove_classifier(create_backbone("resnet18", "none"))
    model = Classifier(body, new_head(Head.LINEAR, dim, 2, 8, 0.0))
    blocks = find_blocks(body)
    model.freeze([m for block in blocks[:-1] for m in block.modules], norms=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):
        model.train()
        nn.functional.cross_entropy(model(torch.randn(4, 3, 64, 64)), torch.tensor([0, 1, 0, 1])).backward()
        optimizer.step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith(("head.", "body.layer4")) for name in changed)
    assert not any("running" in name or "num_batches" in name for name in changed)


def test_unfrozen_norms_do_move() -> None:
    body, dim, _ = remove_classifier(create_backbone("resnet18", "none"))
    model = Classifier(body, new_head(Head.LINEAR, dim, 2, 8, 0.0))
    model.freeze([], norms=False)
    before = model.body.bn1.running_mean.clone()
    model.train()(torch.randn(4, 3, 64, 64))
    assert not torch.equal(model.body.bn1.running_mean, before)


def test_standardize_gives_zero_mean_and_unit_variance() -> None:
    features = torch.randn(200, 5) * torch.tensor([1.0, 2.0, 3.0, 4.0, 0.0]) + 7
    layer = Standardize(5)
    layer.measure(features)
    out = layer(features)
    assert torch.allclose(out.mean(0), torch.zeros(5), atol=1e-5)
    assert torch.allclose(out[:, :4].std(0), torch.ones(4), atol=0.06)
    assert out[:, 4].abs().max() < 1e-3


def test_multiscale_puts_two_sizes_side_by_side() -> None:
    mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    out = MultiScale(mean, 4)(torch.full((1, 3, 8, 8), 2.0))
    assert out.tolist() == [[2.0] * 6]


@pytest.mark.parametrize(("name", "parameters"), [("mlp", 784 * 256 + 256 + 256 * 128 + 128), ("cnn", None)])
def test_small_networks_take_grey_and_three_equal_channels(name: str, parameters: int | None) -> None:
    body, dim = small_body(name, in_channels=1, image_size=28)
    body.eval()
    grey = torch.rand(2, 1, 28, 28)
    with torch.no_grad():
        assert torch.equal(body(grey), body(grey.repeat(1, 3, 1, 1)))
        assert body(grey).shape == (2, dim)
    if parameters:
        assert sum(p.numel() for p in body.parameters()) == parameters


def test_a_description_that_cannot_be_built_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="cannot be built"):
        build_classifier({"backbone": "resnet18x", "in_channels": 3})
