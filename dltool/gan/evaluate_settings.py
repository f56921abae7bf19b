"""What `dltool gan evaluate` compares, and by which features; free of torch, so that the help page is quick."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from dltool.backbones import DEFAULT_BACKBONE
from dltool.data.settings import DataSettings
from dltool.settings import Option, Seed, check_options


class SplitName(StrEnum):
    """Which images of the data count."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


@dataclass(frozen=True)
class RealData(DataSettings):
    """The images that generated ones are compared with."""

    source: Annotated[str, Option("Real images: a folder, or a set by name.", metavar="DATA", argument=True)]
    complete: bool = False
    labelled: bool = False


@dataclass(frozen=True)
class EvaluateSettings:
    """What is measured, and by which features.

    Attributes:
        model: a model file, the folder of a run, or a folder of images.
        samples: images that a generator draws; of a folder, at most so many are taken. None draws 10,000, and takes
            all of a folder.
        split: of the data; None takes test, else val, else train.
        extractor, weights, input_size: see `dltool.gan.features.Extractor`.
        size: side of the images where two folders are compared; None finds it.
        fid_weights: of the standard FID and KID; see `dltool.gan.standard`. None leaves them out.
        sheet: an image of samples beside their nearest training images.
        seed: of the samples, and of what is chosen at random.
    """

    model: Annotated[Path, Option("A model file, a run's folder, or images.", argument=True)]
    samples: Annotated[
        int | None, Option("Samples to draw.", flags=("-n", "--samples"), min=1, shown="10000; of a folder, all")
    ] = None
    split: Annotated[SplitName | None, Option("Which part of the data.", shown="test, else val, else train")] = None
    extractor: Annotated[
        str,
        Option(
            "Network whose pooled features, or a layer's, are compared.",
            metavar="BACKBONE[:LAYER]",
            panel="Features",
        ),
    ] = DEFAULT_BACKBONE
    weights: Annotated[
        str, Option("Of the extractor, as for --backbone.", metavar="default|none|FILE", panel="Features")
    ] = "default"
    input_size: Annotated[
        int | None,
        Option(
            "Side to which images are resized for it.",
            min=32,
            shown="its own; the default's: twice the images', 64 to 224",
            panel="Features",
        ),
    ] = None
    size: Annotated[
        int | None,
        Option("Side of the images, for two folders.", min=8, shown="the larger median, at most 224", panel="Data"),
    ] = None
    sheet: Annotated[
        Path | None, Option("Draw samples beside their nearest training images.", metavar="FILE", shown="")
    ] = None
    fid_weights: Annotated[
        str | None,
        Option(
            "Also the published FID and KID: torch-fidelity's Inception, downloaded once, or a file of it.",
            metavar="default|FILE",
            shown="",
            panel="Features",
        ),
    ] = None
    seed: Seed = 0

    __post_init__ = check_options

    @property
    def is_folder(self) -> bool:
        """Whether `model` is a folder of images rather than a generator's file or run."""
        own = ("model.safetensors", "config.json")
        return self.model.is_dir() and not any((self.model / name).is_file() for name in own)
