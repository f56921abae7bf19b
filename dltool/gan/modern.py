"""Residual networks without norms after R3GAN (Huang et al., "The GAN is dead; long live the GAN!", NeurIPS 2024).

Every block is 1 × 1, grouped 3 × 3, 1 × 1 convolution with biases in the activations only and a last convolution that
starts at zero (Fixup: Zhang et al., 2019), so that no norm is needed. Scaled down for a CPU: one block at each
resolution, and none at the full one, where a convolution alone costs as much as a block two levels below. With so few
blocks no unit sees the whole image; dense layers, which cost a CPU little, do so at the smallest feature map.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dltool.gan.settings import NetworkSpec

_SLOPE = 0.2
_GAIN = math.sqrt(2 / (1 + _SLOPE**2))
_GROUP_WIDTH = 16
_MOST_CHANNELS = 512
_DENSE = 256
# The smaller side of the smallest feature map has 4 to 7 pixels.
_LARGEST_BASE = 7


class BiasedLeaky(nn.Module):
    """A bias for each channel, then LeakyReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.bias.to(x.dtype).view(-1, 1, 1), _SLOPE)


def convolution(inputs: int, outputs: int, kernel: int, gain: float = 1.0, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the variance times `gain`²; with `gain` 0 it starts at zero."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=(kernel - 1) // 2, groups=groups, bias=False)
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(inputs // groups * kernel**2))
    return layer


def linear(inputs: int, outputs: int, gain: float = _GAIN) -> nn.Linear:
    """A linear layer that keeps the variance times `gain`², its biases zero."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(inputs))
    nn.init.zeros_(layer.bias)
    return layer


class ResidualBlock(nn.Module):
    """x + convolutions(x); `depth`, the number of blocks in the network, scales the start (Fixup)."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        gain = _GAIN * depth**-0.25
        self.layers = nn.Sequential(
            convolution(channels, channels, 1, gain / _GAIN),
            BiasedLeaky(channels),
            convolution(channels, channels, 3, gain, groups=max(1, channels // _GROUP_WIDTH)),
            BiasedLeaky(channels),
            convolution(channels, channels, 1, 0.0),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def stage_shapes(spec: NetworkSpec) -> list[tuple[int, int]]:
    """Height and width of the stages' feature maps, from the smallest to half the resolution."""
    return spec.shapes(_LARGEST_BASE)[:0:-1]


def stage_channels(spec: NetworkSpec) -> list[int]:
    """Channels of the stages from the smallest feature map, which has at least four widths, to half the resolution."""
    halvings = len(stage_shapes(spec))
    powers = [max(2, halvings), *reversed(range(1, halvings))]
    return [min(_MOST_CHANNELS, spec.width * 2**power) for power in powers]


def blocks_per_stage(spec: NetworkSpec) -> int:
    """One block at each resolution, but two where there is only one resolution."""
    return 2 if len(stage_shapes(spec)) == 1 else 1


class ModernGenerator(nn.Module):
    """N × inputs to N × channels × height × width."""

    def __init__(self, spec: NetworkSpec, inputs: int) -> None:
        super().__init__()
        channels = stage_channels(spec)
        blocks = blocks_per_stage(spec)
        depth = len(channels) * blocks
        shapes = stage_shapes(spec)
        self.start = nn.Sequential(
            linear(inputs, _DENSE, 1.0),
            nn.LeakyReLU(_SLOPE),
            linear(_DENSE, _DENSE),
            nn.LeakyReLU(_SLOPE),
            linear(_DENSE, channels[0] * math.prod(shapes[0])),
        )
        self.shape = (channels[0], *shapes[0])
        layers: list[nn.Module] = []
        for index, width in enumerate(channels):
            if index:
                layers += [convolution(channels[index - 1], width, 1), nn.Upsample(shapes[index], mode="bilinear")]
            layers += [ResidualBlock(width, depth) for _ in range(blocks)]
        half = spec.width
        layers += [
            convolution(channels[-1], half, 1),
            nn.Upsample(spec.shape, mode="bilinear"),
            BiasedLeaky(half),
            nn.Conv2d(half, spec.channels, 3, padding=1),
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x).view(-1, *self.shape).contiguous(memory_format=torch.channels_last)
        return torch.tanh(self.layers(x))


class ModernDiscriminator(nn.Module):
    """N × channels × height × width to N × features."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        channels = stage_channels(spec)[::-1]
        blocks = blocks_per_stage(spec)
        depth = len(channels) * blocks
        self.features = _DENSE
        layers: list[nn.Module] = [
            nn.Conv2d(spec.channels, channels[0], 4, 2, 1),
            BiasedLeaky(channels[0]),
        ]
        for index, width in enumerate(channels):
            if index:
                layers += [nn.AvgPool2d(2, ceil_mode=True), convolution(channels[index - 1], width, 1)]
            layers += [ResidualBlock(width, depth) for _ in range(blocks)]
        dense = linear(channels[-1] * math.prod(stage_shapes(spec)[0]), _DENSE)
        layers += [BiasedLeaky(channels[-1]), nn.Flatten(), dense, nn.LeakyReLU(_SLOPE)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images.contiguous(memory_format=torch.channels_last))
