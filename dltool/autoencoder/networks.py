"""The classic autoencoders: an image through a narrow code and back, at exactly its own size."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from dltool.autoencoder.unet import DenoisingUNet
from dltool.device import is_out_of_memory
from dltool.errors import ModelError, did_you_mean


class Autoencoder(nn.Module):
    """N × C × H × W images in [0, 1] to N × latent_dim codes and back.

    Weights start by Kaiming's rule with each layer's true fan-in, biases at zero. With torch's default the ReLUs of a
    deep decoder may all fall silent in the first steps, and a sigmoid that starts at a half must first learn that most
    of a digit's page is black: `set_output_mean` starts it there.

    Attributes:
        encoder, decoder: images to codes; codes to the sigmoid's inputs, N × C × H × W.
        shape: C, H, W of the images.
    """

    encoder: nn.Sequential
    decoder: nn.Sequential

    def __init__(self, in_channels: int, height: int, width: int, latent_dim: int) -> None:
        super().__init__()
        self.shape = (in_channels, height, width)
        self.latent_dim = latent_dim

    def encode(self, images: Tensor) -> Tensor:
        """N × C × H × W images to N × latent_dim codes, which are not bounded."""
        return self.encoder(images)

    def decode(self, codes: Tensor) -> Tensor:
        """N × latent_dim codes to N × C × H × W images in [0, 1]."""
        return self.decoder(codes).sigmoid()

    def forward(self, images: Tensor) -> Tensor:
        return self.decode(self.encode(images))

    def set_output_mean(self, mean: Sequence[float]) -> None:
        """Let the untrained output lie around `mean`, one number in [0, 1] per channel."""
        logits = torch.tensor(mean).clamp(0.01, 0.99).logit()
        bias = self._output_layer().bias
        with torch.no_grad():
            bias.copy_(logits.repeat_interleave(len(bias) // len(logits)))

    def _output_layer(self) -> nn.Module:
        return [layer for layer in self.decoder if hasattr(layer, "bias")][-1]

    def _initialize(self) -> None:
        """Kaiming's rule: a gain of sqrt(2) before a ReLU, 1 elsewhere (He et al. 2015)."""
        for layers in (self.encoder, self.decoder):
            kept = list(layers)
            for layer, following in zip(kept, [*kept[1:], None], strict=True):
                if hasattr(layer, "weight"):
                    _kaiming(layer, 2.0 if isinstance(following, nn.ReLU) else 1.0)


class StackedAutoencoder(Autoencoder):
    """Dense layers C·H·W - hidden - latent_dim and back, ReLU between them (Hinton and Salakhutdinov 2006)."""

    def __init__(
        self, in_channels: int, height: int, width: int, latent_dim: int = 10, hidden: Sequence[int] = (128, 32)
    ) -> None:
        super().__init__(in_channels, height, width, latent_dim)
        widths = [in_channels * height * width, *hidden, latent_dim]
        self.encoder = nn.Sequential(nn.Flatten(), *_dense(widths))
        self.decoder = nn.Sequential(*_dense(widths[::-1]), nn.Unflatten(1, self.shape))
        self._initialize()


class ConvAutoencoder(Autoencoder):
    """3 × 3 convolutions with strides 2, 2, 1, a dense layer to the code, and the mirrored way back."""

    def __init__(
        self,
        in_channels: int,
        height: int,
        width: int,
        latent_dim: int = 10,
        channels: Sequence[int] = (16, 32, 64),
        strides: Sequence[int] = (2, 2, 1),
    ) -> None:
        super().__init__(in_channels, height, width, latent_dim)
        sizes = [(height, width)]
        for stride in strides:
            sizes.append((-(-sizes[-1][0] // stride), -(-sizes[-1][1] // stride)))
        widths = [in_channels, *channels]
        inner = (channels[-1], *sizes[-1])
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for index, stride in enumerate(strides):
            narrow, wide = widths[index : index + 2]
            down += [nn.Conv2d(narrow, wide, 3, stride, 1), nn.ReLU()]
            # What a stride of s rounds away on the way down is given back on the way up.
            extra = tuple((side - 1) % stride for side in sizes[index])
            up = [nn.ConvTranspose2d(wide, narrow, 3, stride, 1, extra), nn.ReLU(), *up]
        self.encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(math.prod(inner), latent_dim))
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, math.prod(inner)), nn.ReLU(), nn.Unflatten(1, inner), *up[:-1]
        )
        self._initialize()


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "stacked": StackedAutoencoder,
    "conv": ConvAutoencoder,
    "unet": DenoisingUNet,
}


def create_autoencoder(arch: str, **arguments: Any) -> nn.Module:
    """Build an untrained network of ARCHITECTURES; `arguments` are its constructor's.

    Raises:
        ModelError: no such architecture, or arguments that it does not take.
    """
    if arch not in ARCHITECTURES:
        raise ModelError(f"{arch}: no such autoencoder{did_you_mean(arch, ARCHITECTURES)}")
    try:
        return ARCHITECTURES[arch](**arguments)
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"{arch}: cannot be built with {arguments} ({error})") from error


def _dense(widths: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers[:-1]


@torch.no_grad()
def _kaiming(layer: nn.Module, gain: float) -> None:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    fan_in = float(weight[0].numel())
    if isinstance(layer, nn.ConvTranspose2d):
        # Its weight is in × out × kernel, and each output sees only every stride-th input.
        fan_in = weight.shape[0] * math.prod(layer.kernel_size) / math.prod(layer.stride)
    weight.normal_(0, math.sqrt(gain / fan_in))
    layer.bias.zero_()
