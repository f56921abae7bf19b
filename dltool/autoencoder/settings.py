"""Everything that decides what a trained autoencoder is; free of torch, so that the help page is quick."""

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from dltool.data.settings import DataSettings
from dltool.data.sizes import Size, as_size, read_size_text
from dltool.errors import SettingsError
from dltool.settings import Option, Precision, PrecisionOption, Seed, TrainingTime, check_options, read_names

_NETWORK, _TRAINING = "Network", "Training"
_UNET_CHANNELS = (32, 64, 96, 128)


class Arch(StrEnum):
    """The network: dense layers, convolutions to a code, or a residual U-Net without one."""

    STACKED = "stacked"
    CONV = "conv"
    UNET = "unet"


class Loss(StrEnum):
    """What is compared with the clean image: squared or absolute differences, or cross-entropy per pixel."""

    MSE = "mse"
    L1 = "l1"
    BCE = "bce"


class Optimizer(StrEnum):
    """Adam, or Muon, which orthogonalizes the steps of the inner layers."""

    ADAM = "adam"
    MUON = "muon"


class Augment(StrEnum):
    """How training images are varied: mirrored, turned too (dihedral), or scaled crops of them, mirrored (crop).

    auto turns and mirrors the crops of unet, takes crops of photos, and leaves small images of one size alone.
    """

    AUTO = "auto"
    NONE = "none"
    FLIP = "flip"
    CROP = "crop"
    DIHEDRAL = "dihedral"


class Color(StrEnum):
    """Channels: grey has one, rgb three; auto takes grey where every image is."""

    AUTO = "auto"
    GREY = "grey"
    RGB = "rgb"


def read_channels(text: str) -> tuple[int, ...]:
    """Read `32,64,96,128`.

    Raises:
        ValueError: no such thing.
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError("numbers with commas between are needed, such as 32,64,96,128") from None


@dataclass(frozen=True)
class AeSettings:
    """Settings of one training run. A None is filled in by `plan_training`, once the data is known.

    Attributes:
        arch: see `Arch`.
        start: a model whose weights are taken over where name and shape agree.
        latent_dim: width of the code of `stacked` and `conv`.
        variational: the code is a distribution near the standard normal one, from which `ae sample` draws.
        channels, blocks: of `unet`: channels per level from fine to coarse, residual blocks on each way through one.
        noise: what the network sees instead of the clean image, as `parse_noise` reads it.
        loss, augment, color: see their enums; loss None: L1 for unet, else MSE.
        size: that whole images are cut and scaled to; None keeps the common size of small ones, else takes what fits
            most of them.
        patch_size, crops_per_image: of unet: side of the random crops, and how many of each photo make an epoch.
        epochs, batch_size, lr: as named; the rate is the peak of a one-cycle schedule.
        steps: at least so many, in epochs that go through a small set more than once.
        passes: how often an epoch does so; not to be typed.
        optimizer: see `Optimizer`; None: Muon for unet, else Adam.
        clip: largest norm of the gradient; 0 does not limit it.
        ema: half-life, in samples, of the average of the weights that is kept; 0 keeps the weights themselves.
        time: seconds that training may take; the schedule then ends with the time.
        precision: fp32 or bf16.
        seed: of everything random.
    """

    arch: Annotated[Arch, Option("Dense or convolutional through a code, or a residual U-Net.")] = Arch.CONV
    latent_dim: Annotated[
        int | None,
        Option(
            "Width of the code of stacked and conv.",
            min=1,
            shown="10 up to 32x32 grey, else a 48th of the image's values",
            panel=_NETWORK,
        ),
    ] = None
    variational: Annotated[
        bool, Option("Learn a distribution of codes, from which ae sample draws.", panel=_NETWORK)
    ] = False
    channels: Annotated[
        tuple[int, ...] | None,
        Option(
            "Channels of unet's levels, from fine to coarse.",
            min=1,
            metavar="N,N,…",
            shown="32,64,96,128",
            panel=_NETWORK,
            read=read_channels,
        ),
    ] = None
    blocks: Annotated[
        tuple[int, ...] | None,
        Option(
            "Residual blocks on a way through a level of unet: one number, or one for each level.",
            min=1,
            metavar="N[,N,…]",
            shown="1",
            panel=_NETWORK,
            read=read_channels,
        ),
    ] = None
    start: Annotated[
        Path | None,
        Option(
            "Start from this model's weights; residual blocks that it lacks change nothing at first.",
            flags=("--from",),
            metavar="FILE|RUN",
            shown="",
            panel=_TRAINING,
        ),
    ] = None
    noise: Annotated[
        str,
        Option(
            "What the network sees instead of the clean image: none, gaussian:0.5, gaussian:0-55/255, poisson, "
            "speckle, salt-pepper:0.1, mask:0.25, camera-jpeg:0-50/255, …; several with commas between.",
            metavar="LAW[:STRENGTH]",
        ),
    ] = "none"
    loss: Annotated[Loss | None, Option("Against the clean image.", shown="mse; unet l1", panel=_TRAINING)] = None
    augment: Annotated[
        Augment, Option("auto: crops of photos, unet's turned too; small images stay alone.", panel=_TRAINING)
    ] = Augment.AUTO
    color: Annotated[Color, Option("Channels; auto: grey where every image is.", panel=_NETWORK)] = Color.AUTO
    size: Annotated[
        Size | None,
        Option(
            "Side in pixels that whole images are cut and scaled to, or width and height.",
            metavar="N|WxH",
            shown="their own where small and all alike, else what fits most; of files at most 64",
            panel=_NETWORK,
            read=read_size_text,
        ),
    ] = None
    patch_size: Annotated[int, Option("Side of unet's random crops.", min=8, panel=_TRAINING)] = 64
    crops_per_image: Annotated[int, Option("Crops of each photo per epoch.", min=1, panel=_TRAINING)] = 16
    epochs: Annotated[
        int | None,
        Option(
            "Passes over the images.",
            min=1,
            shown="20, over a small set of several passes each; unet 100",
            panel=_TRAINING,
        ),
    ] = None
    steps: Annotated[
        int | None,
        Option(
            "Train so many steps instead, rounded up to epochs.", min=1, shown="at least 800; unet any", panel=_TRAINING
        ),
    ] = None
    batch_size: Annotated[
        int | None, Option("Samples per step.", min=1, shown="64, conv of photos 32; unet 16", panel=_TRAINING)
    ] = None
    lr: Annotated[
        float | None,
        Option("Peak of the one-cycle learning rate.", min=0, shown="5e-3; stacked 3e-3; unet 2e-3", panel=_TRAINING),
    ] = None
    optimizer: Annotated[
        Optimizer | None, Option("What moves the weights.", shown="muon; stacked adam", panel=_TRAINING)
    ] = None
    clip: Annotated[float, Option("Largest norm of the gradient; 0: any.", min=0, panel=_TRAINING)] = 1.0
    ema: Annotated[
        float | None,
        Option(
            "Half-life, in samples, of the average of the weights that is kept; 0: none.",
            min=0,
            shown="10000, conv at most a 20th of all; unet 5000",
            panel=_TRAINING,
        ),
    ] = None
    time: TrainingTime = None
    precision: PrecisionOption = Precision.AUTO
    seed: Seed = 0
    passes: int | None = None

    def __post_init__(self) -> None:
        check_options(self)
        if self.size is not None:
            object.__setattr__(self, "size", as_size(self.size))
        if self.variational and self.arch is Arch.UNET:
            raise SettingsError("--variational: --arch unet has no code; use conv or stacked")
        if self.variational and self.loss not in (None, Loss.MSE):
            raise SettingsError(f"--loss {self.loss}: --variational needs a squared error; use mse")
        if self.augment is Augment.CROP and self.arch is Arch.UNET:
            raise SettingsError("--augment crop: --arch unet takes crops by itself; use dihedral, flip or none")
        if self.channels == ():
            raise SettingsError("--channels: numbers of at least 1 are needed, such as 32,64,96,128")
        if len(self.blocks or ()) > 1 and len(self.blocks or ()) != len(self.channels or _UNET_CHANNELS):
            raise SettingsError(f"--blocks {self.blocks}: one number, or one for each of --channels")
        if self.arch is Arch.UNET and self.loss is Loss.BCE:
            raise SettingsError("--loss bce: the output of --arch unet is not bounded to [0, 1]; use mse or l1")
        if self.arch is Arch.UNET and self.noise == "none":
            raise SettingsError("--arch unet: without --noise there is nothing to learn; give gaussian:0-55/255")

    def without_effect(self, crops: bool | None = None) -> dict[str, str]:
        """Options that change nothing beside the others, and why; see `dltool.settings.Typed.refuse`.

        Args:
            crops: whether a unet learns from random crops, as photos are, or from whole small images, once the images
                are known.
        """
        steps = {} if self.steps is None else {"epochs": "with --steps"}
        if self.arch is not Arch.UNET:
            only = ("channels", "blocks", "patch_size", "crops_per_image")
            return dict.fromkeys(only, f"with --arch {self.arch}") | steps
        found = {"latent_dim": f"with --arch {self.arch}, which has no code"} | steps
        if crops:
            found["size"] = "with --arch unet on photos, of which it takes crops"
        elif crops is False:
            found["crops_per_image"] = "with --arch unet on small images of one size, which it takes whole"
        return found


@dataclass(frozen=True)
class ImageData(DataSettings):
    """Which images, and how many of them are held out: a tenth (at most 5000) where there is no val/, and none at 0."""

    source: Annotated[
        str, Option("A folder of images, or digits, mnist, fashion-mnist, cifar10.", metavar="DATA", argument=True)
    ]
    val: Annotated[
        float | None,
        Option(
            "Share of the images to hold out.",
            metavar="FLOAT",
            shown="0.1, at most 5000, where there is no val/",
            panel="Data",
        ),
    ] = None
    labelled: bool = False
    default_val: float = 0.1


@dataclass(frozen=True)
class ReconstructSettings:
    """Which images go through which autoencoder, and what is written of them.

    Attributes:
        model: a model file, or a run's folder.
        images: files, folders of them, or a set by name.
        output: the sheet, or a folder for it.
        noise: what is added before the network sees the images, as `parse_noise` reads it.
        csv_file: a table with a row for each image.
        latents: a .npy file of the codes, N × latent_dim.
        interpolate, frames: two images whose codes a GIF goes between, and its frames on the way there.
        anomaly: score every image by how unlike those of training it is, and show where it is.
        normal: names of the classes whose images are; the others are what should be found.
        limit: the most images; 0 for all.
        root: where sets by name are kept.
        seed: of the noise.
    """

    model: Annotated[Path, Option("A model file, or a run's folder.", argument=True)]
    images: Annotated[tuple[Path, ...], Option("Images, folders of them, or a set by name.", argument=True)]
    output: Annotated[Path, Option("The sheet, or a folder for it.", flags=("--output", "-o"), metavar="FILE|FOLDER")]
    noise: Annotated[
        str, Option("Add noise before the network sees the images; as in ae train.", metavar="LAW[:STRENGTH]")
    ] = "none"
    csv_file: Annotated[
        Path | None, Option("Write a table: a row per image.", flags=("--csv",), metavar="FILE", shown="")
    ] = None
    latents: Annotated[Path | None, Option("Write the codes: images x latent_dim.", metavar="FILE.npy", shown="")] = (
        None
    )
    interpolate: Annotated[
        tuple[Path, Path] | None, Option("Also a GIF of the way from one image's code to another's.", metavar="A B")
    ] = None
    frames: Annotated[int, Option("Frames from A to B.", min=2)] = 24
    anomaly: Annotated[bool, Option("Tell images that are unlike those of training, and show where.")] = False
    normal: Annotated[
        tuple[str, ...] | None,
        Option(
            "Class folders, or classes of a set, that are normal: for the AUROC.",
            metavar="NAME[,NAME]",
            read=read_names,
        ),
    ] = None
    limit: Annotated[int, Option("Use only so many images; 0: all.", min=0)] = 0
    root: Annotated[
        Path, Option("Where the sets by name are kept.", flags=("--data-root",), metavar="FOLDER", panel="Data")
    ] = Path("data")
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_options(self)
        if self.latents is not None and self.latents.suffix != ".npy":
            raise SettingsError(f"--latents {self.latents}: a .npy file is needed")

    def without_effect(self) -> dict[str, str]:
        """Options that change nothing beside the others, and why; see `dltool.settings.Typed.refuse`."""
        from dltool.data.builtin import is_builtin

        found = {} if self.interpolate else {"frames": "without --interpolate"}
        if not self.anomaly:
            found["normal"] = "without --anomaly"
        if len(self.images) > 1 or not is_builtin(str(self.images[0])):
            found["root"] = "on files; it is for sets by name"
        return found


_CODED = {"loss": Loss.MSE, "epochs": 20}
_DEFAULTS: dict[Arch, dict[str, Any]] = {
    Arch.STACKED: {**_CODED, "batch_size": 64, "lr": 3e-3, "optimizer": Optimizer.ADAM, "ema": 10000.0},
    Arch.CONV: {**_CODED, "lr": 5e-3, "optimizer": Optimizer.MUON},
    Arch.UNET: {
        **{"loss": Loss.L1, "epochs": 100, "batch_size": 16, "lr": 2e-3, "optimizer": Optimizer.MUON, "ema": 5000.0},
        **{"channels": _UNET_CHANNELS, "blocks": (1,)},
    },
}


def complete(settings: AeSettings) -> AeSettings:
    """Fill in every None that depends on the architecture alone."""
    values = {name: value for name, value in _DEFAULTS[settings.arch].items() if getattr(settings, name) is None}
    return replace(settings, **values)
