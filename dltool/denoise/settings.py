"""What decides how an image is denoised; free of torch, so that the help page is quick."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from dltool.settings import Option, Precision, PrecisionOption, Seed, check_options, read_seconds

MIN_TILE = 128
_NETWORK, _SELF, _CHECK = "Trained network", "Method self", "Looking at the result"


class Method(StrEnum):
    """Who denoises: a trained network, or one that learns from the noisy image itself."""

    NETWORK = "network"
    SELF = "self"


class Dither(StrEnum):
    """Whether white noise is added to noise that the network takes for texture: where it left such, or never."""

    AUTO = "auto"
    OFF = "off"


@dataclass(frozen=True)
class DenoiseFiles:
    """Which images, and what is written and measured.

    Attributes:
        images: files, and folders of them.
        output: a file for one image, else a folder.
        reference: the clean image, or a folder of them that are found by name, to measure by.
        compare: also write the page of before and after.
    """

    images: Annotated[tuple[Path, ...], Option("Images, or folders of them.", argument=True)]
    output: Annotated[
        Path, Option("A file for one image, else a folder.", flags=("--output", "-o"), metavar="FILE|FOLDER")
    ]
    reference: Annotated[
        Path | None,
        Option("The clean image, or a folder of them by name: PSNR and SSIM.", metavar="CLEAN", shown="", panel=_CHECK),
    ] = None
    compare: Annotated[bool, Option("Also a page of before | after with a magnified detail.", panel=_CHECK)] = False

    __post_init__ = check_options


@dataclass(frozen=True)
class DenoiseSettings:
    """Settings of denoising one image.

    Attributes:
        method: a trained network, or Zero-Shot Noise2Noise on the image itself.
        sigma: standard deviation of the noise in units of 0..255; None where it is not known.
        strength: how much of the difference to the restored image is applied, from 0 to 1.
        chroma_strength: the same for the colours, the luma left aside; None for as much as `strength`.
        dither: see `Dither`; with a network that was taught white noise only.
        ensemble: average over eight flips and turns.
        tile: longest side in pixels of what the network sees at once.
        steps: of learning, with method self.
        time: most seconds of learning an image, with method self; the result then depends on the machine.
        seed: of the random numbers of learning and of dithering.
    """

    method: Annotated[Method, Option("A trained network, or one that learns from each noisy image alone.")] = (
        Method.NETWORK
    )
    sigma: Annotated[
        float | None,
        Option(
            "Noise of this standard deviation is the most to take away; pixels go to 255.",
            min=0,
            max=255,
            shown="found out",
        ),
    ] = None
    strength: Annotated[float, Option("Between the noisy image, 0, and the restored one, 1.", min=0, max=1)] = 1.0
    chroma_strength: Annotated[
        float | None, Option("The same for the colours alone.", min=0, max=1, shown="as --strength")
    ] = None
    dither: Annotated[
        Dither,
        Option("Drown in added noise what a --model for white noise alone took for texture; off: never."),
    ] = Dither.AUTO
    ensemble: Annotated[bool, Option("Average over eight flips and turns: better, 8 times slower.")] = False
    tile: Annotated[int, Option("Side in pixels of what is worked on at once: memory.", min=MIN_TILE)] = 512
    steps: Annotated[int, Option("Of learning.", min=1, panel=_SELF)] = 1500
    time: Annotated[
        float | None,
        Option("The most for learning an image.", metavar="SECONDS|5m", shown="no end", panel=_SELF, read=read_seconds),
    ] = None
    seed: Seed = 0

    __post_init__ = check_options

    @property
    def takes_all(self) -> bool:
        """Whether nothing of the noise is asked to stay."""
        return self.strength == 1 and self.chroma_strength in (None, 1) and self.sigma is None

    def without_effect(self) -> dict[str, str]:
        """Options that change nothing with the method, and why; see `dltool.settings.Typed.refuse`."""
        of_the_other = ("steps", "time") if self.method is Method.NETWORK else ("model", "precision", "dither")
        return dict.fromkeys(of_the_other, f"with --method {self.method}")


@dataclass(frozen=True)
class NetworkChoice:
    """Which trained network denoises, and in which number format; nothing of it matters to the method `self`."""

    model: Annotated[
        Path | None,
        Option(
            "A model of 'dltool ae train --arch unet'.",
            metavar="FILE|RUN",
            shown="the one that comes with dltool",
            panel=_NETWORK,
        ),
    ] = None
    precision: PrecisionOption = Precision.AUTO

    __post_init__ = check_options


def compare_path(output: Path) -> Path:
    """Where the page of before and after goes that belongs to `output`: a JPEG beside a JPEG, else a PNG."""
    suffix = output.suffix if output.suffix.lower() in (".jpg", ".jpeg") else ".png"
    return output.with_name(f"{output.stem}__compare{suffix}")
