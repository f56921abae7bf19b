"""`--unlabelled`: labels spread from a few images to many over a graph of neighbours, where that helps."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor

from dltool.cluster.smoothing import cosine_graph
from dltool.data.check import Checked
from dltool.data.pixels import PixelReader
from dltool.data.settings import DataSettings
from dltool.data.splits import Dataset, Split
from dltool.finetune.linear_head import (
    CrossValidated,
    HeadFit,
    HeadProblem,
    Solution,
    calibrate,
    doubting_losses,
    fit_head,
)
from dltool.training.events import Notice

_MOST = 3000
_NEIGHBOURS = 10
# How much of an answer comes from neighbours, in each of so many steps.
_SPREAD, _STEPS = 0.9, 50
# Labels that were spread may be wrong: beside the penalty of the head of labelled images a strong one is tried.
_STRONG_PENALTY = 0.3


@dataclass(frozen=True)
class SpreadLabels:
    """What unlabelled images are worth: loss and accuracy on labelled images that were held out, without and with.

    `used` says whether the head has learnt from them.
    """

    images: int
    used: bool
    loss_without: float
    loss_with: float
    accuracy_without: float
    accuracy_with: float

    def __str__(self) -> str:
        figures = [
            f"{word} them a cross-validated loss of {loss:.3f} ({100 * accuracy:.1f} % right)"
            for word, loss, accuracy in (
                ("without", self.loss_without, self.accuracy_without),
                ("with", self.loss_with, self.accuracy_with),
            )
        ]
        what = "they are learnt from" if self.used else "they are left out"
        return f"{self.images} unlabelled pictures: {', '.join(figures)}: {what}"


def load_unlabelled(
    folder: str, dataset: Dataset, reader: PixelReader, workers: int
) -> Generator[Checked | Notice, None, Split]:
    """The (at most 3000) readable images of a folder that stand in no split of the data.

    Raises:
        DataError: there are none.
    """
    from dltool.data.load import load_data

    settings = DataSettings(folder, labelled=False, complete=False, joined=True, limit=_MOST)
    report = yield from load_data(settings, None, reader.decode, workers)
    split = report.dataset.splits["train"]
    known = {content for each in dataset.splits.values() for content in each.hashes}
    first = {content: index for index, content in reversed(list(enumerate(split.hashes))) if content not in known}
    left, bad = len(split) - len(first), len(report.unreadable)
    parts = [f", {left} left out that the data has, too, or that are there twice"] * (left > 0)
    parts += [f", {bad} that cannot be read"] * (bad > 0)
    yield Notice(f"--unlabelled: {len(first)} pictures" + "".join(parts))
    return split.take(sorted(first.values()))


def spread_labels(
    problem: HeadProblem, found: CrossValidated, views: Tensor, directions: Tensor
) -> Generator[HeadFit, None, tuple[CrossValidated, Solution | None, SpreadLabels]]:
    """See by the same folds whether a head gains by images without labels.

    A head of the labelled ones answers for all; answers and labels are averaged over neighbours (label
    spreading, Zhou et al. 2004, of a head's answers, as in correct-and-smooth, Huang et al. 2021), and a head learns
    from labels and, as far as they are sure, these answers. What is held out is not in the graph.

    Args:
        views: V × M × D standardised features of the unlabelled images.
        directions: (N + M) × D features of length one of the labelled images and these, not standardised.

    Returns:
        What heads with the images answered for held-out ones, the head of all (None, and `found` as it was, where
        their loss is not lower), and both figures.
    """
    graph = cosine_graph(directions.float().numpy(), _NEIGHBOURS)
    count, labels = len(problem.labels), problem.labels.cpu()
    penalties = sorted({found.l2, max(found.l2, _STRONG_PENALTY)})
    tried = [replace(found, l2=l2, logits=torch.empty_like(found.logits)) for l2 in penalties]
    for number in range(found.folds):
        held = found.fold == number
        joined = _join(problem, views, found, np.flatnonzero(~held), graph)
        for each in tried:
            weight, bias = fit_head(joined, each.l2)
            each.logits[torch.from_numpy(held)] = (problem.views[0, held].to(weight) @ weight.T + bias).to(each.logits)
        yield HeadFit(number + 1, found.folds + 1)
    tried = [replace(each, **_calibrated(each, labels)) for each in tried]
    best = min(tried, key=lambda each: _loss(each, labels))
    losses, right = [_loss(each, labels) for each in (found, best)], [_right(each, labels) for each in (found, best)]
    figures = SpreadLabels(views.shape[1], losses[1] < losses[0], *losses, *right)
    if not figures.used:
        return found, None, figures
    solution = fit_head(_join(problem, views, found, np.arange(count), graph), best.l2)
    yield HeadFit(found.folds + 1, found.folds + 1)
    return best, solution, figures


def _calibrated(found: CrossValidated, labels: Tensor) -> dict[str, Any]:
    return dict(zip(("calibration", "calibrated"), calibrate(found.logits, labels, found.fold), strict=True))


def _loss(found: CrossValidated, labels: Tensor) -> float:
    return float(doubting_losses(found.calibrated, labels).mean())


def _right(found: CrossValidated, labels: Tensor) -> float:
    return float((found.calibrated.argmax(1) == labels).double().mean())


def _join(
    problem: HeadProblem, views: Tensor, found: CrossValidated, known: np.ndarray, graph: sparse.csr_matrix
) -> HeadProblem:
    """The labelled samples `known` and all unlabelled ones with the labels that are spread to them."""
    labelled = replace(problem, views=problem.views[:, known], labels=problem.labels[known], units=problem.units[known])
    weight, bias = fit_head(labelled, found.l2)
    answers = found.calibration.apply(views[0].to(weight) @ weight.T + bias).softmax(1).cpu()
    truth = F.one_hot(labelled.labels.cpu(), problem.num_classes)
    rows = np.concatenate([known, len(problem.labels) + np.arange(len(answers))])
    spread = _smooth(torch.cat([truth, answers]).numpy(), graph[rows][:, rows])[len(known) :]
    sure, best = spread.max(1)
    trust = ((problem.num_classes * sure - 1) / (problem.num_classes - 1)).square().to(views)
    return replace(
        labelled,
        views=torch.cat([labelled.views, views], dim=1),
        labels=torch.cat([labelled.labels, best.to(labelled.labels)]),
        sample_weights=torch.cat([trust.new_ones(len(known)), trust]),
    )


def _smooth(answers: np.ndarray, graph: sparse.csr_matrix) -> Tensor:
    """N × classes answers and labels averaged over the graph's neighbours; rows sum to 1."""
    degrees = np.asarray(graph.sum(1)).ravel()
    root = sparse.diags(1 / np.sqrt(np.maximum(degrees, 1e-12)))
    walk, found = root @ graph @ root, answers
    for _ in range(_STEPS):
        found = _SPREAD * (walk @ found) + (1 - _SPREAD) * answers
    return torch.from_numpy(found / found.sum(1, keepdims=True))
