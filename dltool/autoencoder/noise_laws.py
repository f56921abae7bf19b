"""The laws of noise by name, and mixtures of them, as `--noise` writes them."""

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from dltool.autoencoder.noise import Camera, Gaussian, Mask, Noise, Poisson, SaltPepper, Speckle
from dltool.autoencoder.photo_noise import CameraJpeg, Chroma, Grain, Jpeg, Luminance, Sensor
from dltool.errors import SettingsError, did_you_mean


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


NOISES: dict[str, type[Noise]] = {
    law.name: law
    for law in (
        *(Gaussian, Poisson, Speckle, SaltPepper, Mask, Camera),
        *(Sensor, Luminance, Chroma, Grain, Jpeg, CameraJpeg),
    )
}
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
