"""What decides how a style is learnt; free of torch, so that the help page is quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from dltool.data.settings import DataSettings
from dltool.errors import DataError, SettingsError
from dltool.settings import Option, Precision, PrecisionOption, Seed, TrainingTime, check_options, read_numbers

# The photos that are learnt from unless others are named: those of a checkout, which a wheel holds as well.
_CHECKOUT = Path(__file__).parents[2] / "sample_images" / "photos"
SAMPLE_PHOTOS = _CHECKOUT if _CHECKOUT.is_dir() else Path(__file__).parents[1] / "sample_photos"
SHIPPED_STYLES = Path(__file__).parent / "styles"


@dataclass(frozen=True)
class InstantSettings:
    """Which paintings a network learns, and how.

    Attributes:
        paintings: one style each.
        size: longest side of paintings and photos while they are learnt from, so of the images that look best.
        scales: sizes of the paintings, and so of their strokes, in units of `size`, that `--style-scale` can then
            choose between; each costs training.
        crop: side of the squares that are cut from photos, a multiple of 8.
        steps: of the optimizer.
        batch_size: pairs of overlapping crops in a step.
        lr: peak of the learning rate, which ends as half a cosine.
        content_weight: of keeping what is in the photo; the style's weight is 1.
        chroma_weight: of the smoothness of the colours alone.
        steady_weight: of painting the same where two crops overlap, which holds moving images still.
        time: the training may take so long; the schedule ends with it.
        seed: of the first weights, of crops and of their order.
    """

    paintings: Annotated[
        tuple[Path, ...],
        Option("The paintings, a style each; --resume knows its own.", metavar="PAINTING...", argument=True),
    ] = ()
    size: Annotated[int, Option("Longest side of the paintings and photos.", min=64, panel="Training")] = 512
    scales: Annotated[
        tuple[float, ...],
        Option(
            "Sizes of strokes, for --style-scale to choose.",
            min=0.1,
            metavar="SIZE,…",
            shown="1",
            panel="Training",
            read=read_numbers,
        ),
    ] = ()
    crop: Annotated[int, Option("Side of the squares that are cut from photos.", min=32, panel="Training")] = 192
    steps: Annotated[int, Option("Steps of training.", min=1, panel="Training")] = 4000
    batch_size: Annotated[int, Option("Pairs of crops in a step.", min=1, panel="Training")] = 2
    lr: Annotated[float, Option("Peak of the learning rate.", above=0, max=1, panel="Training")] = 2e-3
    content_weight: Annotated[float, Option("Of keeping what is in the photo.", min=0, panel="Loss")] = 0.2
    chroma_weight: Annotated[float, Option("Of smoothness of the colours alone.", min=0, panel="Loss")] = 3.0
    steady_weight: Annotated[
        float, Option("Of painting the same thing alike wherever it is in the image.", min=0, panel="Loss")
    ] = 10.0
    time: TrainingTime = None
    precision: PrecisionOption = Precision.AUTO
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_options(self)
        if self.crop % 8 or self.crop > self.size:
            raise SettingsError(f"--crop {self.crop}: a multiple of 8 up to --size {self.size} is needed")
        object.__setattr__(self, "scales", self.scales or (1.0,))
        if 1 not in self.scales or list(self.scales) != sorted(set(self.scales)):
            raise SettingsError("--scales: rising numbers are needed, 1 among them")
        stems = [path.stem for path in self.paintings]
        if len(set(stems)) < len(stems):
            raise SettingsError("PAINTING: each needs a name of its own, which its model file gets")

    def expect_paintings(self) -> None:
        """A resumed run knows its own; every other one must be given some.

        Raises:
            SettingsError: there are none.
        """
        if not self.paintings:
            raise SettingsError("PAINTING: at least one is needed")


@dataclass(frozen=True)
class TrainingPhotos(DataSettings):
    """Which photos are learnt from; a few are left out of it, to look at."""

    source: Annotated[
        str,
        Option(
            "A folder of photos to learn from.",
            flags=("--photos",),
            metavar="FOLDER",
            shown="the sample photos",
            panel="Data",
        ),
    ] = ""
    root: Path = Path("data")
    download: bool = False
    labelled: bool = False
    default_val: float = 0.1

    def __post_init__(self) -> None:
        if not self.source:
            object.__setattr__(self, "source", str(SAMPLE_PHOTOS))
        super().__post_init__()
        if not Path(self.source).is_dir():
            raise DataError(f"--photos {self.source}: no such folder; a folder of photos is needed")


def find_style(path: Path) -> Path:
    """The file itself where there is one, else the style of that name that comes with dltool."""
    shipped = SHIPPED_STYLES / path.name
    return shipped if not path.exists() and path == Path(path.name) and shipped.is_file() else path
