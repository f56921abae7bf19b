"""Feature maps: the layer's own numbers, laid out where they belong, and nothing left behind."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dltool.errors import ModelError, SettingsError
from dltool.featmap.activations import attention_weights, feature_maps, lay_out
from dltool.featmap.layers import Kind
from tests.featmap.networks import count_hooks, photo, untrained, wrap


def maps_of(network, images, *names):
    return feature_maps(network, images, {name: name for name in names})


def test_in_place_relu_does_not_reach_the_map(sample_images) -> None:
    network = untrained("vgg11", 64)
    _, images = photo(network, sample_images / "photos" / "cat.jpg")
    before, after = maps_of(network, images, "features.0", "features.1")[0]
    convolution = network.module.features[0]
    with torch.no_grad():
        expected = F.conv2d(images, convolution.weight, convolution.bias, padding=1)[0].numpy()
    np.testing.assert_allclose(before.values, expected, atol=1e-5)
    assert before.values.min() < -0.01
    np.testing.assert_array_equal(after.values, before.values.clip(min=0))


def test_tokens_come_back_to_their_places(sample_images) -> None:
    network = untrained("timm:vit_tiny_patch16_224")
    _, images = photo(network, sample_images / "photos" / "cat.jpg")
    tokens, attention = maps_of(network, images, "patch_embed", "blocks.3.attn")[0]
    with torch.no_grad():
        patches = network.module.patch_embed.proj(images)[0].numpy()
    assert tokens.kind is Kind.TOKENS
    np.testing.assert_allclose(tokens.values, patches, atol=1e-5)
    assert attention.kind is Kind.ATTENTION
    assert attention.values.shape == (3, 14, 14)
    assert (attention.values.sum((1, 2)) < 1).all()  # the rest goes to the class token itself
    assert (attention.values.sum((1, 2)) > 0.9).all()


def test_both_kinds_of_attention_are_the_softmax_and_leave_nothing_behind() -> None:
    network = untrained("timm:vit_tiny_patch16_224")
    layer = network.module.blocks[0].attn
    seen = {}
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.setdefault("x", inputs[0]))
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad(), attention_weights(network.module, ["blocks.0.attn"]) as found:
        network.module(images)
    handle.remove()
    q, k, _ = layer.qkv(seen["x"]).reshape(1, 197, 3, 3, 64).permute(2, 0, 3, 1, 4)
    expected = (q @ k.transpose(-2, -1) / 8).softmax(-1)
    torch.testing.assert_close(found["blocks.0.attn"], expected, atol=1e-5, rtol=1e-4)
    assert layer.fused_attn
    assert count_hooks(network.module) == 0

    torch.manual_seed(0)
    module = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    holder = nn.ModuleDict({"attention": module})
    tokens = torch.randn(1, 5, 8)
    with torch.no_grad(), attention_weights(holder, ["attention"]) as found:
        module(tokens, tokens, tokens, need_weights=False)
    torch.testing.assert_close(found["attention"].sum(-1), torch.ones(1, 2, 5))
    assert count_hooks(holder) == 0


def test_channels_last_maps_are_turned() -> None:
    output = torch.arange(2 * 7 * 7 * 96.0).reshape(2, 7, 7, 96)
    kind, values = lay_out(nn.Module(), output, "norm", 2)
    assert kind is Kind.MAP
    assert values[1, 5, 2, 3] == output[1, 2, 3, 5]


class Odd(nn.Module):
    """Parts whose outputs are a tuple, a vector, windows; and a part that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.pair = nn.Identity()
        self.pair.forward = lambda x: (x, x)
        self.windows = nn.Identity()
        self.windows.forward = lambda x: x.reshape(-1, 2, 7)
        self.unused = nn.Conv2d(3, 3, 1)
        self.head = nn.Linear(4, 5)

    def forward(self, images):
        x, _ = self.pair(self.conv(images))
        self.windows(x)
        return self.head(x.mean((2, 3)))


def test_outputs_that_are_no_maps() -> None:
    network = wrap(Odd())
    images = torch.rand(1, 3, 16, 16)
    vector = maps_of(network, images, "head")[0][0]
    assert (vector.kind, vector.values.shape) == (Kind.VECTOR, (5, 1, 1))
    with pytest.raises(ModelError, match="layer pair: its output is a tuple"):
        maps_of(network, images, "pair")
    with pytest.raises(SettingsError, match="--layer windows: its output of shape 56 × 2 × 7"):
        maps_of(network, images, "windows")
    with pytest.raises(ModelError, match="layer unused"):
        maps_of(network, images, "unused")
    assert count_hooks(network.module) == 0


def test_modes_and_flags_come_back() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    network = wrap(module)
    module.train()
    module[1].eval()
    module[0].weight.requires_grad_(False)
    mean = module[1].running_mean.clone()
    maps_of(network, torch.rand(2, 3, 16, 16), "1")
    assert [child.training for child in module] == [True, False, True]
    assert [p.requires_grad for p in module[0].parameters()] == [False, True]
    torch.testing.assert_close(module[1].running_mean, mean)
