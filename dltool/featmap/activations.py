"""What layers answer to images, laid out as maps: channels, tokens back on their grid, heads of attention."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dltool.backbones.taps import Taps
from dltool.errors import SettingsError
from dltool.featmap.layers import Kind, classify, is_attention
from dltool.featmap.network import Network, fits_size, frozen

_ROUNDING_OF_CHANNEL = 1e-5
_ROUNDING_OF_LAYER = 1e-7


@dataclass(frozen=True)
class FeatureMap:
    """One layer's answer to one image.

    Attributes:
        layer: its name, as the user gave it.
        kind: `attention` maps hold one head's attention per channel; a `vector` has 1 × 1 maps.
        values: C × h × w float32 on the CPU.
    """

    layer: str
    kind: Kind
    values: np.ndarray


def feature_maps(network: Network, images: Tensor, layers: dict[str, str]) -> list[list[FeatureMap]]:
    """Return for each of N images the map of each layer, in the order asked for.

    Args:
        images: normalised N × 3 × H × W.
        layers: names as asked for and the modules' own (`dltool.backbones.layers.match_layers`).

    Raises:
        SettingsError: an output is no map, or the network cannot take images of this size; the message names it.
        ModelError: a layer is not reached in the forward pass, or gives several tensors.
    """
    module = network.module
    heads = {own for own in layers.values() if is_attention(module.get_submodule(own))}
    outputs: dict[str, tuple[Kind, Tensor]] = {}
    with frozen(module), torch.no_grad(), fits_size(network):
        plain = [own for own in dict.fromkeys(layers.values()) if own not in heads]
        if plain:
            with Taps(module, plain) as taps:
                outputs |= {own: (Kind.MAP, output) for own, output in taps(images).items()}
        if heads:
            with attention_weights(module, sorted(heads)) as weights:
                module(images)
            outputs |= {own: (Kind.ATTENTION, weight) for own, weight in weights.items()}
    laid = {}
    for name, own in layers.items():
        kind, output = outputs[own] if own in outputs else _missed(name)
        laid[name] = (
            lay_out_attention(module, output, name, network.aspect_of(images))
            if kind is Kind.ATTENTION
            else lay_out(module, output, name, len(images), network.aspect_of(images))
        )
    return [
        [FeatureMap(name, kind, values[index].float().cpu().numpy()) for name, (kind, values) in laid.items()]
        for index in range(len(images))
    ]


def lay_out(module: nn.Module, output: Tensor, name: str, batch: int, aspect: float = 1.0) -> tuple[Kind, Tensor]:
    """Return an output's kind and the same numbers as N × C × h × w, tokens on their grid; differentiable.

    Args:
        aspect: height over width of the images that it is of.

    Raises:
        SettingsError: the output is no map, no tokens and no vector; the message names the layer and the shape.
    """
    kind, grid = classify(module, output, batch, aspect)
    if kind is Kind.VECTOR:
        return kind, output.flatten(1)[:, :, None, None]
    if grid is None:
        shape = " × ".join(str(size) for size in output.shape)
        raise SettingsError(f"--layer {name}: its output of shape {shape} is no map of {batch} picture(s)")
    if kind is Kind.TOKENS:
        return kind, output[:, grid.prefix :].transpose(1, 2).unflatten(2, (grid.height, grid.width))
    return kind, output.permute(0, 3, 1, 2) if grid.channels_last else output


def lay_out_attention(module: nn.Module, weights: Tensor, name: str, aspect: float = 1.0) -> tuple[Kind, Tensor]:
    """Return where each head looks, N × heads × h × w, from its N × heads × L × L attention weights.

    It is what the class token attends to, or, in a network without one, what all tokens attend to on average.

    Raises:
        SettingsError: the tokens are no grid of the whole image; the message names the layer.
    """
    batch, heads, length, _ = weights.shape
    tokens = weights.new_empty(batch, length, 1).expand(batch, length, 2)
    kind, grid = classify(module, tokens, batch, aspect)
    if kind is not Kind.TOKENS or grid is None:
        raise SettingsError(f"--layer {name}: attends inside windows of {length} tokens, not over the whole picture")
    looks = weights[:, :, 0] if grid.prefix else weights.mean(2)
    return Kind.ATTENTION, looks[..., grid.prefix :].reshape(batch, heads, grid.height, grid.width)


@contextmanager
def attention_weights(module: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Fill a dictionary with the N × heads × L × L attention of `layers` while the network runs inside the context.

    torch's `nn.MultiheadAttention` is asked for its weights; timm's attention is made to compute them one by one
    (its fused kernel has none to show) and read where they pass the dropout. Both are as before when the context ends.
    """
    found: dict[str, Tensor] = {}
    handles = []
    fused: list[tuple[nn.Module, bool]] = []

    def ask(_: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        return args, kwargs | {"need_weights": True, "average_attn_weights": False}

    def keep_second(name: str):
        return lambda _, inputs, output: found.__setitem__(name, output[1].detach())

    def keep_input(name: str):
        return lambda _, inputs: found.__setitem__(name, inputs[0].detach().clone())

    try:
        for name in layers:
            layer = module.get_submodule(name)
            if isinstance(layer, nn.MultiheadAttention):
                handles.append(layer.register_forward_pre_hook(ask, with_kwargs=True))
                handles.append(layer.register_forward_hook(keep_second(name)))
            else:
                fused.append((layer, layer.fused_attn))
                layer.fused_attn = False
                handles.append(layer.attn_drop.register_forward_pre_hook(keep_input(name)))
        yield found
    finally:
        for handle in handles:
            handle.remove()
        for layer, flag in fused:
            layer.fused_attn = flag


def strength(values: np.ndarray) -> np.ndarray:
    """How strongly each channel of C × h × w answers: the mean of its absolute values."""
    return np.abs(values).mean(axis=(1, 2))


def without_rounding(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring each channel of C × h × w to its mean whose differences are no larger than float32's rounding.

    A channel that is the same everywhere comes out of convolutions with differences of some 1e-7 of its own size, and
    none is known better than to 1e-7 of the layer's largest number.

    Returns:
        The values, and for each channel whether it was brought to its mean.
    """
    spread = values.max(axis=(1, 2)) - values.min(axis=(1, 2))
    sizes = np.abs(values).max(axis=(1, 2))
    flat = spread <= np.maximum(_ROUNDING_OF_CHANNEL * sizes, _ROUNDING_OF_LAYER * sizes.max())
    means = values.mean(axis=(1, 2), keepdims=True)
    return np.where(flat[:, None, None], means, values), flat


def _missed(name: str) -> tuple[Kind, Tensor]:
    raise SettingsError(f"--layer {name}: the network's forward pass does not reach it")
