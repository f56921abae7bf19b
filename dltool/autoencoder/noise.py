"""Laws of noise: a class each, its strength one number or a range that every image draws its own from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Noise(ABC):
    """A law whose strength is drawn evenly from [low, high] for every image of a batch."""

    low: float
    high: float
    name: ClassVar[str]
    default: ClassVar[float]
    limits: ClassVar[tuple[float, float]]

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return what is left of N × C × H × W images in [0, 1]; `generator` is on their device.

        What leaves [0, 1] is not clipped, as a sensor's raw values are not.
        """
        levels = torch.rand(len(clean), 1, 1, 1, generator=generator, device=clean.device)
        return self.disturb(clean, levels.mul_(self.high - self.low).add_(self.low), generator)

    def at(self, level: float) -> "Noise":
        """The same law at one strength."""
        return type(self)(level, level)

    @abstractmethod
    def disturb(self, clean: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
        """Return N × C × H × W images disturbed with the strengths `levels`, N × 1 × 1 × 1."""

    def tests(self) -> dict[str, "Noise"]:
        """What to measure with, by the name a table gives it: the one strength, or some of the range."""
        return {self.label(level): self.at(level) for level in self.test_levels()}

    def test_levels(self) -> tuple[float, ...]:
        """Strengths to measure at: the one there is, or the ends and the middle of the range."""
        return (self.low,) if self.low == self.high else (self.low, (self.low + self.high) / 2, self.high)

    def label(self, level: float) -> str:
        """What a table calls this law at `level`."""
        return f"{self.name} {level:g}"


class Gaussian(Noise):
    """x + n with n ~ N(0, level²): `level` is the standard deviation where white is 1."""

    name, default, limits = "gaussian", 25 / 255, (0.0, 10.0)

    def disturb(self, clean: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
        return normal(clean, generator).mul_(levels).add_(clean)

    def test_levels(self) -> tuple[float, ...]:
        """Of a range those of 15, 25 and 50 (of 255), which the literature reports, that lie in it."""
        usual = tuple(level / 255 for level in (15, 25, 50) if self.low <= level / 255 <= self.high)
        return usual if usual and self.low < self.high else super().test_levels()

    def label(self, level: float) -> str:
        """`sigma 25` for whole steps of 8-bit images, else `gaussian 0.5`."""
        steps = 255 * level
        return f"sigma {steps:.0f}" if abs(steps - round(steps)) < 1e-6 else f"gaussian {level:g}"


class Camera(Gaussian):
    """Gaussian noise that neighbouring pixels share, as a camera's demosaicing and scaling leave it.

    Of half of the images white noise on a Bayer mosaic is demosaiced (the missing colours are means of their
    neighbours); of the other half, and of grey images, it is blurred by a Gaussian of 0.35 to 0.95 pixels that keeps
    its standard deviation. The images themselves stay sharp.
    """

    name = "camera"

    def disturb(self, clean: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
        noise = normal(clean, generator)
        drawn = torch.rand(len(clean), 4, generator=generator, device=clean.device)
        mosaic = (drawn[:, 0] < 0.5) & (clean.shape[1] == 3)
        for rows, share in ((mosaic.nonzero()[:, 0], share_mosaic), ((~mosaic).nonzero()[:, 0], _share_blur)):
            if len(rows):
                noise[rows] = share(noise[rows], drawn[rows])
        return noise.mul_(levels).add_(clean)

    def test_levels(self) -> tuple[float, ...]:
        """Of a range its middle."""
        return ((self.low + self.high) / 2,)

    def label(self, level: float) -> str:
        return f"camera {255 * level:g}"


class Poisson(Noise):
    """Photons counted: Poisson(x · level) / level; `level` is their mean number at white."""

    name, default, limits = "poisson", 30.0, (0.01, 1e6)

    def disturb(self, clean: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
        return torch.poisson(clean * levels, generator=generator).div_(levels)


class Speckle(Noise):
    """x + x · n with n ~ N(0, level²), as of radar and ultrasound."""

    name, default, limits = "speckle", 0.2, (0.0, 10.0)

    def disturb(self, clean: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
        return normal(clean, generator).mul_(levels).mul_(clean).add_(clean)


class SaltPepper(Noise):
    """A share `level` of the pixels becomes white or black, each with probability one half."""

    name, default, limits = "salt-pepper", 0.1, (0.0, 1.0)

    def disturb(self, clean: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
        drawn = _per_pixel(clean, generator)
        white = (drawn < levels / 2).to(clean.dtype)
        return torch.where(drawn < levels, white, clean)


class Mask(Noise):
    """A share `level` of the pixels becomes black (Vincent et al. 2008)."""

    name, default, limits = "mask", 0.25, (0.0, 1.0)

    def disturb(self, clean: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
        return clean * (_per_pixel(clean, generator) >= levels)


def share_mosaic(white: Tensor, drawn: Tensor) -> Tensor:
    """Keep of white noise, N × 3 × H × W, what a Bayer mosaic (phase from `drawn`) sees, and demosaic it linearly."""
    height, width = white.shape[2:]
    rows = (torch.arange(height, device=white.device) + (drawn[:, 1:2] < 0.5)) % 2
    columns = (torch.arange(width, device=white.device) + (drawn[:, 2:3] < 0.5)) % 2
    down, across = rows[:, :, None], columns[:, None, :]
    seen = torch.stack([down & across, down ^ across, (1 - down) & (1 - across)], dim=1)
    red_blue, green = [[1, 2, 1], [2, 4, 2], [1, 2, 1]], [[0, 1, 0], [1, 4, 1], [0, 1, 0]]
    kernel = torch.tensor([red_blue, green, red_blue], dtype=white.dtype, device=white.device)[:, None] / 4
    return F.conv2d(white * seen, kernel, padding=1, groups=3)


def _share_blur(white: Tensor, drawn: Tensor) -> Tensor:
    """Blur white noise, N × C × H × W, by Gaussians of 0.35 to 0.95 pixels that keep its standard deviation."""
    count, channels = white.shape[:2]
    kernels = blur_kernels(0.35 + 0.6 * drawn[:, 3], 3, channels)
    flat = white.reshape(1, count * channels, *white.shape[2:])
    flat = F.conv2d(flat, kernels[:, :, :, None], padding=(3, 0), groups=count * channels)
    return F.conv2d(flat, kernels[:, :, None, :], padding=(0, 3), groups=count * channels).view_as(white)


def blur_kernels(radius: Tensor, reach: int, channels: int) -> Tensor:
    """Gaussians of N standard deviations in pixels, N·channels × 1 × (2·reach + 1); white noise keeps its own."""
    offsets = torch.arange(-reach, reach + 1, dtype=radius.dtype, device=radius.device)
    kernels = torch.exp(-0.5 * (offsets / radius[:, None]) ** 2)
    return (kernels / kernels.norm(dim=1, keepdim=True)).repeat_interleave(channels, 0)[:, None]


def normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """White noise of standard deviation 1 in the shape of `like`."""
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def _per_pixel(like: Tensor, generator: torch.Generator) -> Tensor:
    shape = (len(like), 1, *like.shape[2:])
    return torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype)
