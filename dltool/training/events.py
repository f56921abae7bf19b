"""What every training run tells whoever watches it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StepEnd:
    """Step `step` of `steps` in an epoch is done; `loss` is the epoch's mean so far, `phase` a run's part, if named."""

    phase: str
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class EpochEnd:
    """An epoch is done; epoch 0 is the state before training.

    Attributes:
        measured: what the command's trainer measures after every epoch, by its names in `metrics.jsonl`.
        best: whether the network is the best so far.
    """

    phase: str
    epoch: int
    epochs: int
    train_loss: float
    measured: Mapping[str, Any]
    best: bool
    seconds: float


@dataclass(frozen=True)
class Notice:
    """Something that the user should know, such as a smaller batch after memory ran out."""

    text: str


@dataclass(frozen=True)
class Stopped:
    """The run was asked to stop and has saved its checkpoint."""
