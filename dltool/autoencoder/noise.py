"""Laws of noise: a class each, its strength one number or a range that every image draws its own from."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.errors import SettingsError, did_you_mean


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
        return _normal(clean, generator).mul_(levels).add_(clean)

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
        noise = _normal(clean, generator)
        drawn = torch.rand(len(clean), 4, generator=generator, device=clean.device)
        mosaic = (drawn[:, 0] < 0.5) & (clean.shape[1] == 3)
        for rows, share in ((mosaic.nonzero()[:, 0], _share_mosaic), ((~mosaic).nonzero()[:, 0], _share_blur)):
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
        return _normal(clean, generator).mul_(levels).mul_(clean).add_(clean)


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


@dataclass(frozen=True)
class Mixture:
    """Every image gets one of several laws, drawn by their shares, which sum to one."""

    laws: tuple[Noise, ...]
    shares: tuple[float, ...]

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """See `Noise`."""
        ends = torch.tensor(self.shares, device=clean.device).cumsum(0)[:-1]
        chosen = torch.bucketize(torch.rand(len(clean), generator=generator, device=clean.device), ends, right=True)
        noisy = torch.empty_like(clean)
        for number, law in enumerate(self.laws):
            rows = (chosen == number).nonzero()[:, 0]
            if len(rows):
                noisy[rows] = law(clean[rows], generator)
        return noisy

    def tests(self) -> dict[str, Noise]:
        """What to measure with: all that its laws are measured with."""
        return {name: noise for law in self.laws for name, noise in law.tests().items()}


NOISES: dict[str, type[Noise]] = {law.name: law for law in (Gaussian, Poisson, Speckle, SaltPepper, Mask, Camera)}
_NUMBER = r"(\d*\.?\d+(?:e-?\d+)?)"
_STRENGTH = re.compile(rf"{_NUMBER}(?:-{_NUMBER})?(?:/{_NUMBER})?")


def parse_noise(text: str) -> Noise | Mixture | None:
    """Read `gaussian:0.5`, `gaussian:0-55/255`, `poisson`, …; None for `none`.

    Several laws with commas between make a `Mixture`; `camera:0-55/255@0.3` gives one its share, the others share what
    is left evenly.

    Raises:
        SettingsError: no such law, not a strength it knows, or shares that make no whole.
    """
    terms = [part.strip() for part in text.lower().split(",")]
    if terms == ["none"]:
        return None
    laws, shares = [], []
    for term in terms:
        words, at, share = term.partition("@")
        laws.append(_parse_law(words, text))
        try:
            shares.append(float(share) if at else None)
        except ValueError:
            raise SettingsError(f"--noise {text}: '{share}' is no share; a number from 0 to 1 is needed") from None
    given = [share for share in shares if share is not None]
    left, others = 1 - sum(given), len(shares) - len(given)
    if any(not 0 <= share <= 1 for share in given) or left < -1e-6 or (not others and abs(left) > 1e-6):
        raise SettingsError(f"--noise {text}: the shares after @ do not make a whole")
    if len(laws) == 1:
        return laws[0]
    return Mixture(tuple(laws), tuple(left / others if share is None else share for share in shares))


def _parse_law(term: str, text: str) -> Noise:
    name, colon, strength = term.partition(":")
    if name not in NOISES:
        near = did_you_mean(name, [*NOISES, "none"])
        raise SettingsError(f"--noise {text}: no such law of noise{near or '; there are ' + ', '.join(NOISES)}")
    law = NOISES[name]
    if not colon:
        return law(law.default, law.default)
    match = _STRENGTH.fullmatch(strength.strip())
    scale = float(match[3]) if match and match[3] else 1.0
    if match is None or scale == 0:
        raise SettingsError(f"--noise {text}: give a strength as in {name}:0.1, a range 0-0.2, or in steps 0-55/255")
    low = float(match[1]) / scale
    high = float(match[2]) / scale if match[2] else low
    if not law.limits[0] <= low <= high <= law.limits[1]:
        raise SettingsError(f"--noise {text}: {name} goes from {law.limits[0]:g} to {law.limits[1]:g}, low-high")
    return law(low, high)


def _share_mosaic(white: Tensor, drawn: Tensor) -> Tensor:
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
    offsets = torch.arange(-3, 4, dtype=white.dtype, device=white.device)
    kernels = torch.exp(-0.5 * (offsets / (0.35 + 0.6 * drawn[:, 3:4])) ** 2)
    kernels = (kernels / kernels.norm(dim=1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    flat = white.reshape(1, count * channels, *white.shape[2:])
    flat = F.conv2d(flat, kernels[:, :, :, None], padding=(3, 0), groups=count * channels)
    return F.conv2d(flat, kernels[:, :, None, :], padding=(0, 3), groups=count * channels).view_as(white)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def _per_pixel(like: Tensor, generator: torch.Generator) -> Tensor:
    shape = (len(like), 1, *like.shape[2:])
    return torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype)
