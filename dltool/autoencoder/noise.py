"""Laws of noise: a class each, its strength one number or a range that every picture draws its own from."""

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dltool.errors import SettingsError, did_you_mean


@dataclass(frozen=True)
class Noise(ABC):
    """A law whose strength is drawn evenly from [low, high] for every picture of a batch."""

    low: float
    high: float
    name: ClassVar[str]
    default: ClassVar[float]
    limits: ClassVar[tuple[float, float]]

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """Return what is left of N × C × H × W pictures in [0, 1]; `generator` is on their device.

        What leaves [0, 1] is not clipped, as a sensor's raw values are not.
        """
        levels = torch.rand(len(clean), 1, 1, 1, generator=generator, device=clean.device)
        return self.disturb(clean, levels.mul_(self.high - self.low).add_(self.low), generator)

    def at(self, level: float) -> "Noise":
        """The same law at one strength."""
        return type(self)(level, level)

    @abstractmethod
    def disturb(self, clean: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
        """Return N × C × H × W pictures disturbed with the strengths `levels`, N × 1 × 1 × 1."""

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
        return f"sigma {255 * level:g}"


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


NOISES: dict[str, type[Noise]] = {law.name: law for law in (Gaussian, Poisson, Speckle, SaltPepper, Mask)}
_NUMBER = r"(\d*\.?\d+(?:e-?\d+)?)"
_STRENGTH = re.compile(rf"{_NUMBER}(?:-{_NUMBER})?(?:/{_NUMBER})?")


def parse_noise(text: str) -> Noise | None:
    """Read `gaussian:0.5`, `gaussian:0-55/255`, `poisson`, …; None for `none`.

    Raises:
        SettingsError: no such law, or not a strength it knows.
    """
    name, colon, strength = text.strip().lower().partition(":")
    if name == "none" and not colon:
        return None
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


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def _per_pixel(like: Tensor, generator: torch.Generator) -> Tensor:
    shape = (len(like), 1, *like.shape[2:])
    return torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype)
