"""What a command gives to the training loop: a plan of what is trained and how, and a trainer, which knows why."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dltool.training.events import EpochEnd

Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class Share:
    """What this process learns from in one step.

    Attributes:
        epoch, step, steps: its place, counted from 0, and the steps of the epoch.
        samples: numbers of the samples.
        rows: their places in the batch that all processes share.
        count: samples in that batch.
        weight: of one sample's loss in the gradient: 1 / `count`, or 0 where the batch had none left for this process.
    """

    epoch: int
    step: int
    steps: int
    samples: np.ndarray
    rows: slice
    count: int
    weight: float


@dataclass(frozen=True)
class Measured:
    """How good a network is after an epoch.

    Attributes:
        values: by their names in `metrics.jsonl`.
        loss: checked to be a number.
        worth: of two networks that with the larger one is the better.
    """

    values: dict[str, Any]
    loss: float
    worth: tuple[float, ...]


class Trainer:
    """What a step learns and what is measured: all that differs from command to command."""

    def batches(self, shares: Sequence[Share]) -> Iterator[Batch]:
        """For each share, all of one epoch, yield tensors on the device whose rows are its samples."""
        raise NotImplementedError

    def loss(self, batch: Batch, share: Share) -> Tensor:
        """The sum of the losses of `batch`, some or all rows of the share's, times the share's weight."""
        raise NotImplementedError

    def begin_epoch(self, epoch: int) -> None:
        """Do what comes before an epoch, but for one that is resumed in its middle; counted from 0."""

    def measure(self, model: nn.Module) -> Measured | None:
        """Measure `model`, the network or its average, in evaluation mode; None keeps the last state as the best."""
        return None

    def end_epoch(self, model: nn.Module, end: EpochEnd) -> None:
        """Keep what an epoch leaves behind, such as example images, before its checkpoint is written."""

    def write_best(self, tensors: Mapping[str, Tensor], best: Mapping[str, Any]) -> None:
        """Write the best model so far: its tensors, its epoch and what was measured.

        In short epochs it is called only every few seconds, and when the training stops or fails before its end.
        """


@dataclass(frozen=True)
class Plan:
    """What is trained, how and for how long.

    Attributes:
        module: trained in place, on its device.
        parameters: those of it that are trained.
        optimizer: its groups' rates are those at the peak of the schedule.
        schedule: factor on the rates by the share of the training that is done.
        order: numbers of an epoch's samples, in turn.
        seeds: what torch's generators are seeded by at each step, beside its place.
        blame, advice: the options to name where the loss is no number, and what to do where memory runs out.
        phase, number: name and place of a run's part; the start of a later part is a candidate for its best.
        parts: in how many parts a batch goes through the network, from the beginning.
        ema: decay of the average of the weights, which then is what is measured and kept; 0 for none.
        clip: limit of the gradient's norm; 0 for none.
        penalty: added to the loss of a step, but not to the loss that is told.
        patience: epochs without a better one after which training ends; 0 for none.
        shared: whether processes under torchrun share every batch out; else each does the same work.
        timed: whether the time budget ends it.
    """

    module: nn.Module
    parameters: Sequence[nn.Parameter]
    optimizer: torch.optim.Optimizer
    schedule: Callable[[float], float]
    order: Callable[[int], np.ndarray]
    batch_size: int
    epochs: int
    seeds: tuple[int | str, ...]
    blame: str
    advice: str
    phase: str = ""
    number: int = 0
    parts: int = 1
    ema: float = 0.0
    clip: float = 0.0
    penalty: Callable[[], Tensor] | None = None
    patience: int = 0
    shared: bool = True
    timed: bool = True
