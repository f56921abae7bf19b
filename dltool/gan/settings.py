"""Everything that decides what a trained generator is; free of torch, so that the help page is quick."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from dltool.data.sizes import LEAST, MOST, STEP, Size, as_size, describe_size, read_size_text, width_height
from dltool.errors import SettingsError
from dltool.settings import Option, Precision, PrecisionOption, Seed, TrainingTime, check_options

# Sides of the sets that everybody knows, besides multiples of 8 from 16 to 256.
SQUARES = (8, 28)


class Arch(StrEnum):
    """The pair of networks: fully connected, DCGAN's convolutions, or residual without norms after R3GAN."""

    MLP = "mlp"
    DCGAN = "dcgan"
    MODERN = "modern"


class Loss(StrEnum):
    """What the discriminator's logits are trained for; see `dltool.gan.losses`."""

    AUTO = "auto"
    BCE = "bce"
    HINGE = "hinge"
    RELATIVISTIC = "relativistic"


@dataclass(frozen=True)
class NetworkSpec:
    """Everything that the two networks are built from; what a model file keeps as the generator's arguments.

    Attributes:
        arch: see `Arch`.
        size: of the images; see `check_size`.
        channels: 1 grey, 3 colour.
        latent_dim: length of the noise vector.
        num_classes: 0 for unconditional networks.
        width: factor on the channels of the convolutions at full resolution; doubled at every halving.
    """

    arch: Arch
    size: Size
    channels: int
    latent_dim: int = 128
    num_classes: int = 0
    width: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "arch", Arch(self.arch))
        object.__setattr__(self, "size", check_size(self.size))
        if self.channels not in (1, 3):
            raise SettingsError(f"{self.channels} channels: 1 or 3 are needed")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images."""
        return width_height(self.size)[::-1]

    def shapes(self, largest: int) -> list[tuple[int, int]]:
        """Heights and widths from `shape` down, each half of the one before (rounded up), until the smaller is at most
        `largest`.
        """
        found = [self.shape]
        while min(found[-1]) > largest:
            height, width = found[-1]
            found.append((-(-height // 2), -(-width // 2)))
        return found


def check_size(size: int | Sequence[int]) -> Size:
    """A size that the networks can have: multiples of 8 from 16 to 256 pixels, or a square of `SQUARES`.

    Raises:
        SettingsError: no such size.
    """
    size = as_size(size)
    if size not in SQUARES and not all(side in range(LEAST, MOST + 1, STEP) for side in width_height(size)):
        squares = " or ".join(map(str, SQUARES))
        raise SettingsError(
            f"--size {describe_size(size) if isinstance(size, tuple) else size}: multiples of {STEP} from {LEAST} to "
            f"{MOST} are needed, such as 64 or 64x48; a square may have {squares}, too"
        )
    return size


class Augment(StrEnum):
    """Whether the discriminator sees real and generated images moved, cut out and recoloured; auto: small sets."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True)
class GanSettings:
    """Settings of one training run. A None or auto is filled in by `complete`, once the data is known.

    Attributes:
        arch, loss, augment: see `Arch`, `Loss`, `Augment`.
        size: of the images; None takes the one that fits most of them, of files at most 64.
        latent_dim, width: see `NetworkSpec`.
        start: what the networks begin as; see `dltool.gan.start`.
        conditional: learn the classes, to be asked for one by one later; None does so with modern where every class
            has enough images.
        epochs: times that every image is seen. time: seconds that training may take; the schedule ends with it.
        batch_size: images per step.
        lr: Adam's rate for both networks.
        gamma: strength of the R1 and R2 penalties; 0 for none.
        ema: half-life, in images, of the average of the generator's weights that is kept; 0 keeps none.
        final_lr: factor on `lr` that the last steps are taken with.
        grid: images in the grid of every epoch; with a column for each class, filled up to whole rows.
        figure_every: epochs between two quality figures; 0 chooses about ten over the run, or over --time.
        passes: times that an epoch goes through the images; more than once for a few of them.
        precision: auto, fp32 or bf16.
        seed: of everything random.
    """

    arch: Annotated[Arch, Option("Fully connected, DCGAN's convolutions, or residual without norms after R3GAN.")] = (
        Arch.MODERN
    )
    loss: Annotated[Loss, Option("What the discriminator learns.", shown="relativistic for modern, else bce")] = (
        Loss.AUTO
    )
    size: Annotated[
        Size | None,
        Option(
            "Side of the images in pixels, or width and height: multiples of 8 from 16 to 256.",
            metavar="N|WxH",
            shown="what fits most images; of files at most 64",
            read=read_size_text,
        ),
    ] = None
    conditional: Annotated[
        bool | None,
        Option(
            "Learn the classes, to ask for one by one later.",
            flags=("--conditional/--unconditional",),
            shown="conditional for modern, with 50 images of each",
        ),
    ] = None
    latent_dim: Annotated[int | None, Option("Numbers of noise.", min=1, shown="128; modern 64", panel="Networks")] = (
        None
    )
    width: Annotated[
        int | None, Option("Channels of modern at the finest resolution.", min=1, shown="16", panel="Networks")
    ] = None
    start: Annotated[
        Path | None,
        Option(
            "Start from a run's networks, or a model's generator: for finer images, another set, other classes.",
            flags=("--from",),
            metavar="RUN|FILE",
            shown="",
            panel="Training",
        ),
    ] = None
    epochs: Annotated[
        int | None,
        Option(
            "Times that every image is seen; several times each in small sets.",
            min=1,
            shown="enough to see 400000 images",
            panel="Training",
        ),
    ] = None
    time: TrainingTime = None
    batch_size: Annotated[int | None, Option("Images per step.", min=1, shown="64", panel="Training")] = None
    lr: Annotated[
        float | None, Option("Adam's rate at the start.", min=0, shown="2e-4; modern 3e-3", panel="Training")
    ] = None
    final_lr: Annotated[
        float | None,
        Option("Factor on --lr at the end of the cosine.", min=0, shown="1; modern 0.1", panel="Training"),
    ] = None
    gamma: Annotated[
        float | None, Option("Strength of modern's R1 and R2 penalties.", min=0, shown="0.5", panel="Training")
    ] = None
    ema: Annotated[
        int | None,
        Option(
            "Half-life, in images, of the average of the generator that is kept.",
            min=0,
            shown="5000",
            panel="Training",
        ),
    ] = None
    augment: Annotated[Augment, Option("Vary what the discriminator sees; auto: for small sets.", panel="Training")] = (
        Augment.AUTO
    )
    grid: Annotated[int, Option("Images in each epoch's grid.", min=1, panel="Output")] = 64
    figure_every: Annotated[
        int, Option("Epochs between two quality figures.", min=0, shown="ten over the run", panel="Output")
    ] = 0
    precision: PrecisionOption = Precision.AUTO
    seed: Seed = 0
    passes: int = 0

    def __post_init__(self) -> None:
        check_options(self)
        # 0 is how older runs and command lines say None.
        object.__setattr__(self, "size", check_size(self.size) if self.size else None)
        if self.loss is Loss.RELATIVISTIC and self.arch is not Arch.MODERN:
            # Its pairs have no attractive equilibrium without the penalties, which the dropout of these two spoils.
            raise SettingsError(f"--loss relativistic: --arch {self.arch} takes bce or hinge")
        if self.gamma and self.arch is not Arch.MODERN:
            raise SettingsError(f"--gamma {self.gamma}: the penalties are for --arch modern only")

    def without_effect(self, count: int | None = None) -> dict[str, str]:
        """Options that change nothing beside the others, and why; see `dltool.settings.Typed.refuse`.

        Args:
            count: of the images to learn from, once they are known.
        """
        found = {}
        if self.arch is not Arch.MODERN:
            found |= dict.fromkeys(("width", "gamma"), f"with --arch {self.arch}; it is for modern")
        if count is not None and count < FEWEST_REAL:
            found["figure_every"] = f"with {count} images: a quality figure takes {FEWEST_REAL}"
        return found


# What an architecture takes for the settings that are None, and Adam's decay rates.
_DEFAULTS: dict[Arch, dict[str, Any]] = {
    Arch.MLP: {
        "loss": Loss.BCE,
        "latent_dim": 128,
        "batch_size": 64,
        "lr": 2e-4,
        "gamma": 0.0,
        "ema": 5000,
        "final_lr": 1.0,
    },
    Arch.DCGAN: {
        "loss": Loss.BCE,
        "latent_dim": 128,
        "batch_size": 64,
        "lr": 2e-4,
        "gamma": 0.0,
        "ema": 5000,
        "final_lr": 1.0,
    },
    Arch.MODERN: {
        "loss": Loss.RELATIVISTIC,
        "latent_dim": 64,
        "batch_size": 64,
        "lr": 3e-3,
        "gamma": 0.5,
        "ema": 5000,
        "final_lr": 0.1,
    },
}
BETAS = {Arch.MLP: (0.5, 0.999), Arch.DCGAN: (0.5, 0.999), Arch.MODERN: (0.0, 0.95)}


# With fewer images no quality figure is taken.
FEWEST_REAL = 10
# Fewer images than this a discriminator learns by heart, unless it never sees the same one twice.
FEW_IMAGES = 1000
# Classes with fewer images are learnt better together, unless each is asked for.
ENOUGH_OF_A_CLASS = 50
# An epoch sees at least about so many images, so that a grid and a checkpoint after each cost little.
SHORTEST_EPOCH = 2000
IMAGES_SEEN = 400_000
FIGURES = 10
# Of a run that ends by its time.
MOST_EPOCHS = 1_000_000


def complete(settings: GanSettings, class_counts: Sequence[int], size: Size) -> GanSettings:
    """Fill in what the architecture, the number of images of each class and their size decide."""
    count = sum(class_counts)
    defaults = {"width": 16, **_DEFAULTS[settings.arch]}
    values = {name: value for name, value in defaults.items() if getattr(settings, name) is None}
    if settings.loss is Loss.AUTO:
        values["loss"] = _DEFAULTS[settings.arch]["loss"]
    if settings.conditional is None:
        enough = len(class_counts) > 1 and min(class_counts) >= ENOUGH_OF_A_CLASS
        values["conditional"] = settings.arch is Arch.MODERN and enough
    if settings.augment is Augment.AUTO:
        values["augment"] = Augment.ON if count < FEW_IMAGES else Augment.OFF
    if not settings.passes:
        values["passes"] = max(1, round(SHORTEST_EPOCH / count))
    passes = settings.passes or values["passes"]
    if settings.epochs is None:
        values["epochs"] = MOST_EPOCHS if settings.time else max(1, -(-IMAGES_SEEN // (count * passes)))
        if not settings.figure_every and not settings.time:
            values["figure_every"] = max(1, values["epochs"] // FIGURES)
    elif not settings.figure_every and settings.epochs < MOST_EPOCHS:  # which stands for --time alone
        values["figure_every"] = max(1, settings.epochs // FIGURES)
    return replace(settings, **values, size=size)
