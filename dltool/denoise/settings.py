"""What decides how an image is denoised; free of torch, so that the help page is quick."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from dltool.errors import SettingsError

MIN_TILE = 128


class Method(StrEnum):
    """Who denoises: a trained network, or one that learns from the noisy image itself."""

    NETWORK = "network"
    SELF = "self"


class Dither(StrEnum):
    """Whether white noise is added to noise that the network takes for texture: where it left such, or never."""

    AUTO = "auto"
    OFF = "off"


@dataclass(frozen=True)
class DenoiseSettings:
    """Settings of denoising one image.

    Attributes:
        method: a trained network, or Zero-Shot Noise2Noise on the image itself.
        sigma: standard deviation of the noise in units of 0..255; None where it is not known.
        strength: how much of the difference to the restored image is applied, from 0 to 1.
        dither: see `Dither`; with a trained network only.
        ensemble: average over eight flips and turns.
        tile: longest side in pixels of what the network sees at once.
        steps: of learning, with method self.
        time: most seconds of learning an image, with method self; the result then depends on the machine.
        seed: of the random numbers of learning and of dithering.
    """

    method: Method = Method.NETWORK
    sigma: float | None = None
    strength: float = 1.0
    dither: Dither = Dither.AUTO
    ensemble: bool = False
    tile: int = 512
    steps: int = 1500
    time: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.sigma is not None and not 0 <= self.sigma <= 255:
            raise SettingsError(f"--sigma {self.sigma:g}: between 0 and 255, as pixels are counted")
        if not 0 <= self.strength <= 1:
            raise SettingsError(f"--strength {self.strength:g}: between 0 and 1")
        if self.tile < MIN_TILE:
            raise SettingsError(f"--tile {self.tile}: at least {MIN_TILE} pixels are needed")
        if self.steps < 1:
            raise SettingsError(f"--steps {self.steps}: at least 1 is needed")


def compare_path(output: Path) -> Path:
    """Where the page of before and after goes that belongs to `output`: a JPEG beside a JPEG, else a PNG."""
    suffix = output.suffix if output.suffix.lower() in (".jpg", ".jpeg") else ".png"
    return output.with_name(f"{output.stem}__compare{suffix}")
