"""Everything that decides what a trained classifier is; free of torch, so that the help page is quick."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from dltool.errors import SettingsError

SMALL_NETWORKS = ("mlp", "cnn")


class Strategy(StrEnum):
    """Which tensors are trained, and in what order."""

    AUTO = "auto"
    FEATURES = "features"
    PARTIAL = "partial"
    FULL = "full"
    TWO_PHASE = "two-phase"
    SCRATCH = "scratch"


class Head(StrEnum):
    """What stands on the features: one linear layer, or Linear, BatchNorm, ReLU, Linear."""

    LINEAR = "linear"
    MLP = "mlp"


class HeadInit(StrEnum):
    """Start of a linear head: zeros, or the ImageNet head's rows whose label holds the class's name."""

    ZEROS = "zeros"
    NAMES = "names"


class Augment(StrEnum):
    """How training images are varied: not at all, crop and flip, or TrivialAugment on top."""

    AUTO = "auto"
    NONE = "none"
    BASIC = "basic"
    TRIVIAL = "trivial"


class Balance(StrEnum):
    """What is done about rare classes: nothing, weights in the loss, or drawing them more often."""

    NONE = "none"
    WEIGHTS = "weights"
    SAMPLER = "sampler"


class Optimizer(StrEnum):
    """How the weights are moved down the loss."""

    ADAMW = "adamw"
    SGD = "sgd"


_KINDS: dict[str, type[StrEnum]] = {
    "strategy": Strategy,
    "head": Head,
    "head_init": HeadInit,
    "augment": Augment,
    "balance": Balance,
    "optimizer": Optimizer,
}


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings of one training run. A None is filled in by `complete`, once strategy and data are known.

    Attributes:
        strategy: see `Strategy`; `auto` decides from a linear probe (`dltool.finetune.strategy`).
        backbone, weights: the network and its weights; `mlp` and `cnn` are the small ones from scratch; empty
            chooses the default backbone, or `cnn` for tiny images.
        head, hidden, dropout, head_init: what stands on the features; `hidden` is the mlp's width.
        unfreeze: for `partial`, how many of the last blocks are trained.
        size: side of the input in pixels; 0 takes that of the weights.
        multiscale: put a frozen backbone's features at two sizes side by side (9/7 and 1 times the weights' own).
        epochs: of the main phase. head_epochs: of the head's own phase on cached features.
        lr: of the backbone's last block (of everything in `scratch`); 0 where only a head is trained.
        head_lr: of the head. layer_decay: factor on `lr` from each block to the one before it.
        weight_decay: AdamW's or SGD's on the network. head_l2: the L2 penalty on a head over frozen features; None
            takes what cross-validation finds best.
        batch_size, accumulate: samples per step, and in how many parts they go through the network.
        optimizer, warmup, label_smoothing, balance, augment, ema: as named; `ema` 0 keeps no average.
        patience: epochs without a better validation accuracy after which a phase ends; 0 never.
        keep_checkpoints: write every epoch's model.
        time: seconds that training may take; the schedule then ends with the time.
        precision: fp32 or bf16.
        seed: of everything random.
    """

    strategy: Strategy = Strategy.AUTO
    backbone: str = ""
    weights: str = "default"
    head: Head = Head.LINEAR
    hidden: int = 500
    dropout: float = 0.0
    head_init: HeadInit = HeadInit.ZEROS
    unfreeze: int = 2
    size: int = 0
    multiscale: bool | None = None
    epochs: int | None = None
    head_epochs: int = 30
    lr: float | None = None
    head_lr: float | None = None
    layer_decay: float = 0.9
    weight_decay: float | None = None
    head_l2: float | None = None
    batch_size: int | None = None
    accumulate: int = 1
    optimizer: Optimizer = Optimizer.ADAMW
    warmup: float = 0.1
    label_smoothing: float | None = None
    balance: Balance = Balance.NONE
    augment: Augment = Augment.AUTO
    ema: float = 0.0
    patience: int = 0
    keep_checkpoints: bool = False
    time: float | None = None
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            object.__setattr__(self, name, kind(getattr(self, name)))
        for name in ("epochs", "head_epochs", "batch_size", "accumulate", "hidden", "unfreeze"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{option(name)} {value}: at least 1 is needed")
        for name in ("lr", "head_lr", "weight_decay", "head_l2"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise SettingsError(f"{option(name)} {value}: a finite number of at least 0 is needed")
        for name in ("dropout", "ema", "label_smoothing", "warmup"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise SettingsError(f"{option(name)} {value}: a number from 0 to below 1 is needed")
        if not 0 < self.layer_decay <= 1:
            raise SettingsError(f"--layer-decay {self.layer_decay}: above 0 and at most 1 is needed")
        if self.size and self.size < 16:
            raise SettingsError(f"--size {self.size}: at least 16 is needed")
        self._check_combinations()

    def _check_combinations(self) -> None:
        small = self.backbone in SMALL_NETWORKS
        if small and self.strategy not in (Strategy.AUTO, Strategy.SCRATCH):
            raise SettingsError(f"--strategy {self.strategy}: --backbone {self.backbone} knows scratch only")
        if small and self.head is not Head.LINEAR:
            raise SettingsError(f"--head {self.head}: --backbone {self.backbone} has a head of its own")
        if self.head is Head.MLP and self.batch_size == 1:
            raise SettingsError("--batch-size 1: the batch norm of --head mlp needs at least 2")
        if self.head_init is HeadInit.NAMES and self.head is Head.MLP:
            raise SettingsError("--head-init names: needs --head linear")
        if self.weights == "none" and self.strategy in (Strategy.FEATURES, Strategy.PARTIAL, Strategy.TWO_PHASE):
            raise SettingsError(f"--weights none: nothing is learnt there for --strategy {self.strategy}; use scratch")


# What a strategy takes for the settings that are None.
_DEFAULTS: dict[Strategy, dict[str, Any]] = {
    Strategy.FEATURES: {"epochs": 30, "lr": 0.0, "head_lr": 3e-4, "weight_decay": 0.0, "multiscale": True},
    Strategy.PARTIAL: {"epochs": 8, "lr": 1e-4, "head_lr": 1e-3, "weight_decay": 1e-2, "multiscale": False},
    Strategy.FULL: {"epochs": 8, "lr": 1e-4, "head_lr": 1e-3, "weight_decay": 1e-2, "multiscale": False},
    Strategy.TWO_PHASE: {"epochs": 4, "lr": 1e-5, "head_lr": 1e-4, "weight_decay": 1e-2, "multiscale": False},
    Strategy.SCRATCH: {"epochs": 20, "lr": 1e-3, "head_lr": 1e-3, "weight_decay": 5e-2, "multiscale": False},
}
_SMALL_DEFAULTS = {
    "mlp": {"epochs": 5, "lr": 2e-3, "weight_decay": 1e-2, "batch_size": 64, "multiscale": False},
    "cnn": {"epochs": 5, "lr": 3e-3, "weight_decay": 1e-2, "batch_size": 128, "multiscale": False},
}


def complete(settings: FinetuneSettings, in_memory: bool) -> FinetuneSettings:
    """Fill in every None for a strategy that is decided; `in_memory` for small images in arrays."""
    small = settings.backbone in SMALL_NETWORKS
    values = {**_DEFAULTS[settings.strategy], "batch_size": 32, "label_smoothing": 0.0}
    if small:
        values |= _SMALL_DEFAULTS[settings.backbone]
    values = {name: value for name, value in values.items() if getattr(settings, name) is None}
    if settings.augment is Augment.AUTO:
        values["augment"] = Augment.NONE if in_memory else Augment.BASIC
    completed = replace(settings, **values)
    if completed.head_lr is None:
        completed = replace(completed, head_lr=completed.lr)
    return completed


_OF_A_HEAD_PHASE = ("head_epochs", "head_l2")
_IGNORED: dict[Strategy, tuple[str, ...]] = {
    Strategy.FEATURES: ("lr", "layer_decay", "unfreeze", "head_epochs", "time"),
    Strategy.PARTIAL: (),
    Strategy.FULL: ("unfreeze", *_OF_A_HEAD_PHASE),
    Strategy.TWO_PHASE: ("unfreeze",),
    Strategy.SCRATCH: ("unfreeze", "layer_decay", "weights", "head_init", *_OF_A_HEAD_PHASE),
}
_IGNORED_BY_SMALL = ("multiscale", "hidden", "dropout", "head_lr")


def ignored(settings: FinetuneSettings) -> tuple[str, ...]:
    """Names of the settings that change nothing with a strategy that is decided."""
    names = _IGNORED[settings.strategy]
    if settings.backbone in SMALL_NETWORKS:
        return names + _IGNORED_BY_SMALL
    if settings.strategy is Strategy.FEATURES and settings.augment is Augment.TRIVIAL:
        names += ("augment",)  # cached features know images as they are and mirrored
    return names if settings.head is Head.MLP else (*names, "hidden")


def option(name: str) -> str:
    """The command line's spelling of a setting."""
    return "--" + name.replace("_", "-")
