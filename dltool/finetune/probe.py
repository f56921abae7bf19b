"""The linear probe: how far a linear layer on frozen features gets, measured by cross-validation in seconds."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from dltool.events import finish
from dltool.finetune.linear_head import HeadProblem, cross_validate, doubting_losses
from dltool.finetune.network import Standardize


@dataclass(frozen=True)
class Probe:
    """Cross-validated accuracy in [0, 1] and log loss at the L2 penalty that was chosen, from `samples` samples."""

    accuracy: float
    loss: float
    l2: float
    samples: int
    folds: int


def run_probe(features: Tensor, labels: Tensor, num_classes: int, seed: int, units: np.ndarray | None = None) -> Probe:
    """Cross-validate a linear layer on N × D features; see `cross_validate`.

    Args:
        units: N numbers; samples of the same one are held out together.
    """
    standardize = Standardize(features.shape[1])
    standardize.measure(features)
    units = np.arange(len(labels)) if units is None else units
    found = finish(cross_validate(HeadProblem(standardize(features)[None], labels, num_classes, units, seed)))
    accuracy = float((found.logits.argmax(1) == labels).double().mean())
    loss = float(doubting_losses(found.logits, labels).mean())
    return Probe(accuracy, loss, found.l2, len(labels), found.folds)
