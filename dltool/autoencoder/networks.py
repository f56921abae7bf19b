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

    def __init__(self, in_channels: int, height: int, width: int, latent_dim: int, variational: bool = False) -> None:
        super().__init__()
        self.shape = (in_channels, height, width)
        self.latent_dim = latent_dim
        self.variational = variational

    @property
    def _encoded(self) -> int:
        """Numbers that the encoder gives: a variational one says of each of the code how sure it is."""
        return self.latent_dim * (2 if self.variational else 1)

    def encode(self, images: Tensor) -> Tensor:
        """N × C × H × W images to N × latent_dim codes, which are not bounded; the means of a variational one."""
        return self.encoder(images)[:, : self.latent_dim]

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of the variances of a variational encoder's codes, both N × latent_dim."""
        mean, log_variance = self.encoder(images).float().chunk(2, 1)
        return mean, log_variance.clamp(-12, 6)

    def sampled(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What a variational one gives back by way of a random code, and that code's divergence.

        Returns:
            N × C × H × W images in [0, 1], and N numbers: nats from the normal distribution that `ae sample` draws from
            (Kingma and Welling 2014).
        """
        mean, log_variance = self.posterior(images)
        codes = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return self.decode(codes), divergence

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
                if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                    _kaiming(layer, 2.0 if isinstance(following, nn.ReLU) else 1.0)


class StackedAutoencoder(Autoencoder):
    """Dense layers C·H·W - hidden - latent_dim and back, ReLU between them (Hinton and Salakhutdinov 2006)."""

    def __init__(
        self,
        in_channels: int,
        height: int,
        width: int,
        latent_dim: int = 10,
        hidden: Sequence[int] = (128, 32),
        variational: bool = False,
    ) -> None:
        super().__init__(in_channels, height, width, latent_dim, variational)
        widths = [in_channels * height * width, *hidden]
        self.encoder = nn.Sequential(nn.Flatten(), *_dense([*widths, self._encoded]))
        self.decoder = nn.Sequential(*_dense([latent_dim, *widths[::-1]]), nn.Unflatten(1, self.shape))
        self._initialize()


class ConvAutoencoder(Autoencoder):
    """3 × 3 convolutions with strides 2, 2, 1, a dense layer to the code, and the mirrored way back.

    Without a normalization its ReLUs may die. It is what older model files hold and what `cluster` learns with;
    `ae train` makes a `NormalizedAutoencoder`.
    """

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


class NormalizedAutoencoder(Autoencoder):
    """Convolutions down to at most 8 × 8 places, a dense layer to the code, and pixel shuffles on the way back.

    Every layer is normalized over the whole image (Wu and He 2018, one group) and followed by a SiLU, which has a
    slope everywhere: no unit can die. Nearly all arithmetic is done at half the size and below, and the dense layers
    see few channels (`neck`), so that a step on 64 × 64 colours costs a CPU core less than a tenth of a second.
    """

    def __init__(
        self,
        in_channels: int,
        height: int,
        width: int,
        latent_dim: int = 10,
        base: int = 16,
        widest: int = 64,
        neck: int = 16,
        variational: bool = False,
    ) -> None:
        super().__init__(in_channels, height, width, latent_dim, variational)
        halvings = max(1, math.ceil(math.log2(max(height, width, 16) / 8)))
        strides = [2] * halvings + [1] * (3 - halvings)
        sizes, widths = [(height, width)], [in_channels]
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for level, stride in enumerate(strides):
            (rows, columns), before = sizes[-1], widths[-1]
            sizes.append((-(-rows // stride), -(-columns // stride)))
            widths.append(min(base << level, widest))
            down += [nn.Conv2d(before, widths[-1], 3, stride, 1), *_alive(widths[-1])]
            back = [nn.Conv2d(widths[-1], before * stride**2, 3, 1, 1), nn.PixelShuffle(stride), Crop(rows, columns)]
            up = [*back, *(_alive(before) if level else []), *up]
        inner = (neck, *sizes[-1])
        dense = math.prod(inner)
        narrow = (nn.Conv2d(widths[-1], neck, 1), nn.Flatten(), nn.Linear(dense, self._encoded))
        self.encoder = nn.Sequential(*down, *narrow)
        wide = (nn.Linear(latent_dim, dense), nn.Unflatten(1, inner), nn.Conv2d(neck, widths[-1], 1))
        self.decoder = nn.Sequential(*wide, *_alive(widths[-1]), *up)
        self._initialize()


class Crop(nn.Module):
    """Leaves off what a pixel shuffle gives beyond a size."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, images: Tensor) -> Tensor:
        return images[..., : self.height, : self.width]


def conv_autoencoder(norm: bool = False, **arguments: Any) -> Autoencoder:
    """A `NormalizedAutoencoder`; without `norm`, as in older model files, a `ConvAutoencoder`."""
    return NormalizedAutoencoder(**arguments) if norm else ConvAutoencoder(**arguments)


def _alive(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.GroupNorm(1, channels), nn.SiLU()


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "stacked": StackedAutoencoder,
    "conv": conv_autoencoder,
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
