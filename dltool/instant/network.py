"""The network that paints: its strokes are laid out at an eighth of the image's size, and drawn at a quarter.

A feed-forward network for a style is Johnson et al., "Perceptual losses for real-time style transfer" (2016); several
styles in one by instance norms with a scale and a shift for each are Dumoulin et al., "A learned representation for
artistic style" (2017). Here every statistic over the image is taken at an eighth of its size, where even a large image
is small, so that the rest can go strip by strip and no seam shows. What is drawn is added to the image, of whose own
detail only a part is kept, chosen place by place: a painting without fine texture could not be had by adding alone.
Waves over the image are laid beneath the strokes, so that there is something to draw in an empty sky, too, as in
Bergmann et al., "Learning texture manifolds with the periodic spatial GAN" (2017).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# The image's sides are continued to multiples of it.
STRIDE = 8
_FINE = 4
# Octaves of the image's own detail that may be left out, from the finest on.
_BANDS = 3
# Lengths of the shortest and the longest wave, in pixels of the strokes, and how many there are.
_SHORTEST, _LONGEST, _WAVES = 2.5, 32.0, 16
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
_EPSILON = 1e-5


class StyleNetwork(nn.Module):
    """Paints N × 3 × H × W images, whose colours are the painting's already, in the styles that it knows.

    Attributes:
        styles: how many paintings it knows.
    """

    def __init__(
        self,
        styles: int = 1,
        channels: int = 80,
        blocks: int = 6,
        kernel: int = 7,
        fine_channels: int = 64,
        fine_blocks: int = 3,
    ) -> None:
        super().__init__()
        self.styles = styles
        self.first = nn.Conv2d(3 * _FINE**2, fine_channels, 3)
        self.down = nn.Conv2d(4 * fine_channels, channels, 1)
        self.waves = nn.Conv2d(_WAVES, channels, 1, bias=False)
        self.strokes = nn.ModuleList(Block(channels, kernel, styles, normed=True) for _ in range(blocks))
        self.up = nn.Conv2d(channels, 4 * fine_channels, 1)
        self.details = nn.ModuleList(Block(fine_channels, 5, styles, normed=False) for _ in range(fine_blocks))
        self.last = nn.Conv2d(fine_channels, 3 * _FINE**2, 3)
        self.smooth = nn.Conv2d(3, 3, 3)
        self.keep = nn.Conv2d(fine_channels, _BANDS, 1)
        self.register_buffer("frequencies", _frequencies(), persistent=False)
        nn.init.zeros_(self.smooth.bias)
        nn.init.constant_(self.keep.bias, 2.0)
        with torch.no_grad():  # so that it begins near the image itself
            self.smooth.weight.mul_(0.3)
            self.waves.weight.mul_(0.3)
            self.keep.weight.mul_(0.1)

    @property
    def halo(self) -> int:
        """By how many pixels, a multiple of STRIDE, a strip must be continued for `paint` to be as in the whole."""
        reach = 1 + _FINE * (1 + 1 + sum(block.reach for block in self.details))  # smooth, last or keep, first, details
        return -(-reach // STRIDE) * STRIDE

    @property
    def mixing(self) -> list[Tensor]:
        """The weights within that mix channels, whose steps Muon takes."""
        outer = (self.first, self.last, self.smooth)
        layers = (layer for layer in self.modules() if isinstance(layer, nn.Conv2d) and layer not in outer)
        return [layer.weight for layer in layers if layer.groups == 1]

    def forward(self, images: Tensor, style: Tensor, origins: Tensor | None = None) -> Tensor:
        """Paint images whose sides are multiples of STRIDE; results may reach beyond [0, 1].

        Args:
            style: N × styles, the share of each in every image.
            origins: N × 2, where in the waves each image begins, in pixels of the strokes; at (0, 0) if not given.
        """
        fine = self.look(images)
        return self.paint(images, fine, self.lay_out(self.reduce(fine), style, origins), style)

    def look(self, images: Tensor) -> Tensor:
        """Features at a quarter of the size."""
        return F.relu(self.first(padded(F.pixel_unshuffle(images - 0.5, _FINE), 1)))

    def reduce(self, fine: Tensor) -> Tensor:
        """Features at an eighth of the size."""
        return self.down(F.pixel_unshuffle(fine, STRIDE // _FINE))

    def lay_out(self, coarse: Tensor, style: Tensor, origins: Tensor | None = None) -> Tensor:
        """The strokes, at an eighth of the size; of all of an image at once, for the sake of the statistics."""
        begin = coarse.new_zeros(1, 2) if origins is None else origins
        lengths = enumerate(coarse.shape[2:])
        rows, columns = (begin[:, along, None] + torch.arange(length, device=begin.device) for along, length in lengths)
        down, right = self.frequencies.T[..., None]
        phases = (down * rows[:, None])[..., None] + (right * columns[:, None])[..., None, :]
        coarse = coarse + self.waves(phases.sin().to(coarse.dtype))
        for block in self.strokes:
            coarse = block(coarse, style)
        return coarse

    def paint(self, images: Tensor, fine: Tensor, strokes: Tensor, style: Tensor) -> Tensor:
        """Draw the strokes over the images; each pixel depends on what is within `halo` of it alone."""
        fine = fine + F.pixel_shuffle(self.up(strokes), STRIDE // _FINE)
        for block in self.details:
            fine = block(fine, style)
        fine = F.relu(fine)
        drawn = F.pixel_shuffle(self.last(padded(fine, 1)), _FINE)
        kept = enlarged(torch.sigmoid(self.keep(fine)), _FINE)
        return with_less_detail(images, kept) + self.smooth(padded(drawn, 1))


class Block(nn.Module):
    """Looks around in each channel, then mixes the channels: a residual block of depthwise and 1 × 1 convolutions.

    In between, each style has a scale and a shift for every channel, after an instance norm where there is one.
    """

    def __init__(self, channels: int, kernel: int, styles: int, normed: bool) -> None:
        super().__init__()
        self.reach = kernel // 2
        self._normed = normed
        self.around = nn.Conv2d(channels, channels, kernel, groups=channels)
        self.scale = nn.Parameter(torch.ones(styles, channels))
        self.shift = nn.Parameter(torch.zeros(styles, channels))
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.narrow = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, maps: Tensor, style: Tensor) -> Tensor:
        seen = self.around(padded(maps, self.reach))
        scale, shift = (style @ values for values in (self.scale, self.shift))
        if self._normed:
            variance, mean = torch.var_mean(seen, (2, 3), correction=0)
            scale = scale / (variance + _EPSILON).sqrt()
            shift = shift - mean * scale
        seen = torch.addcmul(shift[..., None, None], seen, scale[..., None, None])
        return maps + self.narrow(F.relu(self.widen(seen)))


def _frequencies() -> Tensor:
    """Of each wave, waves × 2: radians a pixel down and to the right; in all directions, no two alike in length."""
    numbers = torch.arange(_WAVES)
    lengths = _SHORTEST * (_LONGEST / _SHORTEST) ** (numbers / (_WAVES - 1))
    angles = _GOLDEN_ANGLE * numbers
    return 2 * math.pi / lengths[:, None] * torch.stack((angles.sin(), angles.cos()), 1)


def padded(maps: Tensor, by: int) -> Tensor:
    """Continue maps at their borders by their outermost values."""
    return F.pad(maps, (by, by, by, by), mode="replicate")


def with_less_detail(images: Tensor, kept: Tensor) -> Tensor:
    """Of each octave of the detail of N × C × H × W images only the share `kept`, N × octaves × H × W, finest first."""
    finer, result = images, torch.zeros_like(images)
    for octave in range(kept.shape[1]):
        side = 2 ** (octave + 1)
        coarser = enlarged(F.avg_pool2d(images, side), side)
        result = result + kept[:, octave : octave + 1] * (finer - coarser)
        finer = coarser
    return result + finer


def enlarged(maps: Tensor, factor: int) -> Tensor:
    """Maps at so many times their size."""
    return F.interpolate(maps, scale_factor=factor, mode="bilinear", align_corners=False)
