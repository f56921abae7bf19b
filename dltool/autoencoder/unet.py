"""A residual U-Net that takes noise out of images of any size."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), without biases."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv2(F.relu(self.conv1(features)))


class DenoisingUNet(nn.Module):
    """Estimates the noise in N × C × H × W images and takes it away; blind to the noise level.

    There is no bias anywhere, so the network is homogeneous, f(a·x) = a·f(x) for a > 0, and works at noise levels
    between and beyond those it learnt (Mohan et al. 2020). As in DRUNet (Zhang et al. 2021) there are residual blocks,
    strided 2 × 2 convolutions down, transposed ones up and sums over the skips; unlike there the skips leave after a
    level's blocks and join before those on the way up, so that fine features pass through all of their level's.
    """

    def __init__(
        self, in_channels: int = 3, channels: Sequence[int] = (32, 64, 96, 128), blocks: int | Sequence[int] = 1
    ) -> None:
        """`channels` of the levels from fine to coarse, and `blocks` residual blocks on each way through a level.

        One number of blocks is for every level.
        """
        super().__init__()
        counts = [blocks] * len(channels) if isinstance(blocks, int) else list(blocks)
        *outer, inner = zip(channels, counts, strict=True)
        self.in_channels = in_channels
        self.stride = 2 ** (len(channels) - 1)
        self.head = nn.Conv2d(in_channels, channels[0], 3, padding=1, bias=False)
        self.encoder = nn.ModuleList(_blocks(*level) for level in outer)
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, 2, bias=False) for fine, coarse in pairwise(channels))
        self.body = _blocks(*inner)
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, 2, bias=False) for fine, coarse in reversed(list(pairwise(channels)))
        )
        self.decoder = nn.ModuleList(_blocks(*level) for level in reversed(outer))
        self.tail = nn.Conv2d(channels[0], in_channels, 3, padding=1, bias=False)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        # Nearly the identity at first: the residual branches and the estimated noise start small.
        for block in [module for module in self.modules() if isinstance(module, ResidualBlock)]:
            block.conv2.weight.data.mul_(0.1)
        self.tail.weight.data.mul_(0.1)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        padded = pad_to_multiple(images, self.stride)
        features = shallow = self.head(padded)
        skips = []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            skips.append(blocks(features))
            features = down(skips[-1])
        features = self.body(features)
        for up, blocks, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            features = blocks(up(features) + skip)
        features = features + shallow
        return (padded - self.tail(features))[..., :height, :width]


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Reflect N × C × H × W images, at any size from 1 pixel, on to sides that `multiple` divides."""
    for dim in (-2, -1):
        side = images.shape[dim]
        extra = -side % multiple
        if extra:
            images = images.index_select(dim, reflected(torch.arange(side + extra, device=images.device), side))
    return images


def reflected(places: Tensor, length: int | Tensor) -> Tensor:
    """Positions from 0 on along a side of `length` pixels, which goes on by reflection, at any length from 1."""
    period = torch.as_tensor(2 * (length - 1), device=places.device).clamp(min=1)
    places = places % period
    return torch.minimum(places, period - places)


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))
