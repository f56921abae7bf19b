"""Everything that decides what a trained autoencoder is; free of torch, so that the help page is quick."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from dltool.errors import SettingsError


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
    """How training images are varied; auto turns and mirrors crops of photos and leaves whole images alone."""

    AUTO = "auto"
    NONE = "none"
    FLIP = "flip"
    DIHEDRAL = "dihedral"


class Color(StrEnum):
    """Channels: grey has one, rgb three; auto takes grey where every image is."""

    AUTO = "auto"
    GREY = "grey"
    RGB = "rgb"


@dataclass(frozen=True)
class AeSettings:
    """Settings of one training run. A None is filled in by `complete`, once the data is known.

    Attributes:
        arch: see `Arch`.
        latent_dim: width of the code of `stacked` and `conv`.
        channels, blocks: of `unet`: channels per level from fine to coarse, residual blocks on each way through one.
        noise: what the network sees instead of the clean image, as `parse_noise` reads it.
        loss, augment, color: see their enums; loss None: L1 for unet, else MSE.
        size: side of the square that whole images are scaled to; None keeps the common size of small ones, else 64.
        patch_size, crops_per_image: of unet: side of the random crops, and how many of each photo make an epoch.
        epochs, batch_size, lr: as named; the rate is the peak of a one-cycle schedule.
        optimizer: see `Optimizer`; None: Muon for unet, else Adam.
        clip: largest norm of the gradient; 0 does not limit it.
        ema: half-life, in samples, of the average of the weights that is kept; 0 keeps the weights themselves.
        time: seconds that training may take; the schedule then ends with the time.
        precision: fp32 or bf16.
        seed: of everything random.
    """

    arch: Arch = Arch.CONV
    latent_dim: int = 10
    channels: tuple[int, ...] | None = None
    blocks: int | None = None
    noise: str = "none"
    loss: Loss | None = None
    augment: Augment = Augment.AUTO
    color: Color = Color.AUTO
    size: int | None = None
    patch_size: int = 64
    crops_per_image: int = 16
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    optimizer: Optimizer | None = None
    clip: float = 1.0
    ema: float | None = None
    time: float | None = None
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in (
            ("arch", Arch),
            ("loss", Loss),
            ("optimizer", Optimizer),
            ("augment", Augment),
            ("color", Color),
        ):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else kind(value))
        if self.channels is not None:
            object.__setattr__(self, "channels", tuple(self.channels))
        for name in ("latent_dim", "blocks", "size", "patch_size", "crops_per_image", "epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{option(name)} {value}: at least 1 is needed")
        for name in ("lr", "clip", "ema"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise SettingsError(f"{option(name)} {value}: a finite number of at least 0 is needed")
        if self.channels is not None and (not self.channels or min(self.channels) < 1):
            raise SettingsError(f"--channels {self.channels}: numbers of at least 1 are needed, such as 32,64,96,128")
        if self.arch is Arch.UNET and self.loss is Loss.BCE:
            raise SettingsError("--loss bce: the output of --arch unet is not bounded to [0, 1]; use mse or l1")
        if self.arch is Arch.UNET and self.noise == "none":
            raise SettingsError("--arch unet: without --noise there is nothing to learn; give gaussian:0-55/255")


_TINY = {"loss": Loss.MSE, "epochs": 20, "batch_size": 64, "lr": 3e-3, "optimizer": Optimizer.ADAM, "ema": 10000.0}
_DEFAULTS: dict[Arch, dict[str, Any]] = {
    Arch.STACKED: _TINY,
    Arch.CONV: _TINY,
    Arch.UNET: {
        **{"loss": Loss.L1, "epochs": 100, "batch_size": 16, "lr": 2e-3, "optimizer": Optimizer.MUON, "ema": 5000.0},
        **{"channels": (32, 64, 96, 128), "blocks": 1},
    },
}
_OF_UNET = ("channels", "blocks", "patch_size", "crops_per_image")


def complete(settings: AeSettings) -> AeSettings:
    """Fill in every None that depends on the architecture alone."""
    values = {name: value for name, value in _DEFAULTS[settings.arch].items() if getattr(settings, name) is None}
    return replace(settings, **values)


def ignored(settings: AeSettings) -> tuple[str, ...]:
    """Names of the settings that change nothing with the architecture."""
    return ("latent_dim", "size") if settings.arch is Arch.UNET else _OF_UNET


def option(name: str) -> str:
    """The command line's spelling of a setting."""
    return "--" + name.replace("_", "-")
