"""Everything that decides what a trained classifier is, and how it is used; free of torch, for quick help pages."""

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from dltool.data.settings import NoCache
from dltool.errors import SettingsError
from dltool.settings import (
    Option,
    Precision,
    PrecisionOption,
    Seed,
    TrainingTime,
    check_options,
    settings_of,
)

SMALL_NETWORKS = ("mlp", "cnn")
_NETWORK, _HEAD, _TRAINING, _OUTPUT = "Network", "Head", "Training", "Output"


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


class Fit(StrEnum):
    """What is done about images that are no squares: the middle, all of it and a margin, or all of it distorted."""

    AUTO = "auto"
    CROP = "crop"
    PAD = "pad"
    SQUASH = "squash"


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


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings of one training run. A None is filled in by `complete`, once strategy and data are known.

    Attributes:
        strategy: see `Strategy`; `auto` decides from a linear probe (`dltool.finetune.strategy`).
        backbone, weights: the network and its weights; `mlp` and `cnn` are the small ones from scratch; empty
            chooses the default backbone, or `cnn` for tiny images. Weights may be an own model, whose network and head
            the run goes on from (`dltool.finetune.continuation`).
        size: side of the input in pixels; 0 takes that of the weights.
        fit: how an image becomes a square (`Preprocessing.fit`); `auto` is settled by `dltool.finetune.fit_choice`.
        multiscale: put a frozen backbone's features at two sizes side by side (9/7 and 1 times the weights' own).
        head, hidden, dropout, head_init: what stands on the features; `hidden` is the mlp's width.
        unfreeze: for `partial`, how many of the last blocks are trained.
        epochs: of the main phase; a linear head alone has none, it is fitted to its optimum.
        head_epochs: of the head's own phase on cached features, before `partial` and `two-phase` go on.
        lr: of the backbone's last block (of everything in `scratch`); 0 where only a head is trained.
        head_lr: of the head. layer_decay: factor on `lr` from each block to the one before it.
        weight_decay: AdamW's or SGD's on the network. head_l2: the L2 penalty on a head over frozen features; None
            takes what cross-validation finds best.
        unlabelled: a folder of images to whom a linear head over frozen features spreads its labels
            (`dltool.finetune.unlabelled`).
        batch_size, accumulate: samples per step, and in how many parts they go through the network.
        optimizer, warmup, label_smoothing, balance, augment, ema: as named; `ema` 0 keeps no average.
        patience: epochs without a lower validation loss after which a phase ends; 0 never.
        time: seconds that training may take; the schedule then ends with the time.
        keep_checkpoints: write every epoch's model.
        precision: auto, fp32 or bf16.
        seed: of everything random.
    """

    strategy: Annotated[Strategy, Option("What is trained; auto probes, and keeps the better.")] = Strategy.AUTO
    backbone: Annotated[
        str,
        Option(
            "A torchvision classifier's name, timm:NAME, or the small networks mlp and cnn.",
            shown="efficientnet_lite0; cnn for tiny images",
            panel=_NETWORK,
        ),
    ] = ""
    weights: Annotated[
        str,
        Option(
            "The library's own, random ones, a .safetensors, .pth or .pt file, or an own run or model to go on from.",
            metavar="default|none|FILE|RUN",
            panel=_NETWORK,
        ),
    ] = "default"
    size: Annotated[int, Option("Side of the input in pixels; 0: what suits the weights.", min=0, panel=_NETWORK)] = 0
    fit: Annotated[
        Fit,
        Option("Of images that are no squares; auto: crop, or for long ones what a probe finds best.", panel=_NETWORK),
    ] = Fit.AUTO
    multiscale: Annotated[
        bool | None,
        Option(
            "Frozen features at two sizes, side by side.",
            flags=("--multiscale/--single-scale",),
            shown="multiscale for features",
            panel=_NETWORK,
        ),
    ] = None
    unfreeze: Annotated[int, Option("Blocks that partial trains, from the last.", min=1, panel=_NETWORK)] = 2
    head: Annotated[Head, Option("One layer, or two with batch norm.", panel=_HEAD)] = Head.LINEAR
    hidden: Annotated[int, Option("Width of the mlp head.", min=1, panel=_HEAD)] = 500
    dropout: Annotated[float, Option("Before the last layer.", min=0, below=1, panel=_HEAD)] = 0.0
    head_init: Annotated[HeadInit, Option("Start at zero, or from ImageNet's rows of the same name.", panel=_HEAD)] = (
        HeadInit.ZEROS
    )
    head_epochs: Annotated[
        int, Option("Of the head alone, before two-phase and partial go on.", min=1, panel=_HEAD)
    ] = 30
    head_lr: Annotated[float | None, Option("Learning rate of the head.", min=0, shown="by strategy", panel=_HEAD)] = (
        None
    )
    head_l2: Annotated[
        float | None,
        Option("L2 penalty on the head over frozen features.", min=0, shown="by cross-validation", panel=_HEAD),
    ] = None
    unlabelled: Annotated[
        Path | None,
        Option("Images without labels to learn from, too, where cross-validation says so.", panel=_HEAD),
    ] = None
    epochs: Annotated[int | None, Option("Epochs of the main phase.", min=1, shown="by strategy", panel=_TRAINING)] = (
        None
    )
    lr: Annotated[
        float | None,
        Option(
            "Learning rate of the backbone's last block.",
            min=0,
            shown="by strategy; two-phase 1e-5",
            panel=_TRAINING,
        ),
    ] = None
    layer_decay: Annotated[
        float, Option("Factor on --lr from each block to the one before.", above=0, max=1, panel=_TRAINING)
    ] = 0.9
    weight_decay: Annotated[float | None, Option("Of the optimizer.", min=0, shown="by strategy", panel=_TRAINING)] = (
        None
    )
    batch_size: Annotated[
        int | None, Option("Samples per step.", min=1, shown="32; mlp 64, cnn 128", panel=_TRAINING)
    ] = None
    accumulate: Annotated[int, Option("Parts that a batch goes through the network in.", min=1, panel=_TRAINING)] = 1
    optimizer: Annotated[Optimizer, Option("How weights are moved.", panel=_TRAINING)] = Optimizer.ADAMW
    warmup: Annotated[
        float,
        Option("Share of the steps with a rising rate, before the cosine.", min=0, below=1, panel=_TRAINING),
    ] = 0.1
    label_smoothing: Annotated[
        float | None,
        Option("Share of the target given to all classes.", min=0, below=1, shown="0", panel=_TRAINING),
    ] = None
    balance: Annotated[Balance, Option("Rare classes: weigh them more, or draw them more often.", panel=_TRAINING)] = (
        Balance.NONE
    )
    augment: Annotated[Augment, Option("auto: basic for files, none for tiny images.", panel=_TRAINING)] = Augment.AUTO
    ema: Annotated[
        float,
        Option("Decay of an average of the weights that is used instead; 0: none.", min=0, below=1, panel=_TRAINING),
    ] = 0.0
    patience: Annotated[
        int, Option("Stop after this many epochs without a better one; 0: never.", min=0, panel=_TRAINING)
    ] = 0
    time: TrainingTime = None
    keep_checkpoints: Annotated[bool, Option("Write every epoch's model.", panel=_OUTPUT)] = False
    precision: PrecisionOption = Precision.AUTO
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_options(self)
        if self.size and self.size < 16:
            raise SettingsError(f"--size {self.size}: at least 16 is needed")
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

    @property
    def own_fit(self) -> str:
        """What `Preprocessing.fit` is to be; `crop` while it is not settled."""
        return Fit.CROP.value if self.fit is Fit.AUTO else self.fit.value

    def without_effect(self) -> dict[str, str]:
        """Settings that change nothing beside the others, and why; an undecided strategy may add to them later."""
        if self.backbone in SMALL_NETWORKS:
            names = (*_WITHOUT_EFFECT[Strategy.SCRATCH], *_WITHOUT_EFFECT_ON_SMALL)
            found = dict.fromkeys(names, f"with --backbone {self.backbone}")
            if self.weights not in ("default", "none"):  # an own model's
                del found["weights"]
            return found
        found = dict.fromkeys(_WITHOUT_EFFECT[self.strategy], f"with --strategy {self.strategy}")
        if self.strategy is Strategy.FEATURES and self.head is Head.LINEAR:
            found |= dict.fromkeys(_OF_EPOCHS, "with --strategy features, whose linear head is fitted to its optimum")
        if self.strategy is Strategy.FEATURES and self.augment is Augment.TRIVIAL:
            found["augment"] = "with --strategy features, whose features are of images as they are and mirrored"
        if self.head is not Head.MLP:
            found["hidden"] = "without --head mlp"
        else:
            found["unlabelled"] = "with --head mlp"
        return found


@dataclass(frozen=True)
class FinetuneTask:
    """What is done beside, or instead of, training one classifier."""

    compare: Annotated[bool, Option("Train every way at one budget; one table and one page.", panel=_OUTPUT)] = False
    preview_augment: Annotated[bool, Option("Only write RUN/augment.png: one image nine times.", panel=_OUTPUT)] = False
    no_cache: NoCache = False


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
_OF_EPOCHS = (
    *("epochs", "head_lr", "weight_decay", "batch_size", "accumulate", "optimizer", "warmup", "ema", "patience"),
    *("dropout", "keep_checkpoints"),
)
_WITHOUT_EFFECT: dict[Strategy, tuple[str, ...]] = {
    Strategy.AUTO: (),
    Strategy.FEATURES: ("lr", "layer_decay", "unfreeze", "head_epochs", "time"),
    Strategy.PARTIAL: ("unlabelled",),
    Strategy.FULL: ("unfreeze", "unlabelled", *_OF_A_HEAD_PHASE),
    Strategy.TWO_PHASE: ("unfreeze", "unlabelled"),
    Strategy.SCRATCH: ("unfreeze", "unlabelled", "layer_decay", "weights", "head_init", *_OF_A_HEAD_PHASE),
}
_WITHOUT_EFFECT_ON_SMALL = ("multiscale", "hidden", "dropout", "head_lr")


def describe_unused(decided: FinetuneSettings) -> list[str]:
    """A line for each setting that is not what `complete` would take, and yet changes nothing."""
    options = settings_of(FinetuneSettings)
    taken = complete(FinetuneSettings(strategy=decided.strategy, backbone=decided.backbone), in_memory=True)
    return [
        f"{options[name].spelling}: has no effect {reason}"
        for name, reason in decided.without_effect().items()
        if getattr(decided, name) != getattr(taken, name)
    ]
