"""What decides how a picture is denoised; free of torch, so that the help page is quick."""

from dataclasses import dataclass
from enum import StrEnum

from dltool.errors import SettingsError

MIN_TILE = 128
TRAINED_SIGMA = 55.0  # the shipped denoiser has seen white noise up to this level, in 0..255 units


class Method(StrEnum):
    """Who denoises: a trained network, or one that learns from the noisy picture itself."""

    NETWORK = "network"
    SELF = "self"


class Scales(StrEnum):
    """At which sizes noise is looked for: where it was found, at full size, or at half size and then at full size."""

    AUTO = "auto"
    FULL = "1"
    BOTH = "2"


@dataclass(frozen=True)
class DenoiseSettings:
    """Settings of denoising one picture.

    Attributes:
        method: a trained network, or Zero-Shot Noise2Noise on the picture itself.
        sigma: standard deviation of the noise in units of 0..255; None where it is not known.
        strength: how much of the difference to the restored picture is applied, from 0 to 1.
        scales: at which sizes noise is looked for.
        ensemble: average over eight flips and turns.
        tile: longest side in pixels of what the network sees at once.
        steps: of learning, with method self.
        time: most seconds of learning a picture, with method self; the result then depends on the machine.
        seed: of the random numbers of learning.
    """

    method: Method = Method.NETWORK
    sigma: float | None = None
    strength: float = 1.0
    scales: Scales = Scales.AUTO
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
