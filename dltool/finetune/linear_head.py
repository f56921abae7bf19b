"""The linear head over frozen features at the optimum of its loss, which is convex; and how sure it may be."""

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import Tensor

from dltool.training.seeds import numpy_generator

# Penalties on the squared weights, for features of unit variance and the mean loss of a sample, the strongest first.
PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5)
_FOLDS = 5
_MOST_CHOSEN_ON = 3000
_ITERATIONS = 300
_ITERATIONS_OF_A_CHOICE = 100
_WORSE_IN_A_ROW = 3
# Above so many numbers double precision costs more than it gains.
_MOST_DOUBLES = 1 << 25
# Answers that are taken for wrong though all held-out ones were right (Krichevsky & Trofimov, 1981).
_DOUBT = 0.5

Solution = tuple[Tensor, Tensor]
"""Weight (classes × D) and bias (classes)."""


@dataclass(frozen=True)
class HeadFit:
    """`done` of at most `total` fits of a head."""

    done: int
    total: int


@dataclass(frozen=True)
class HeadProblem:
    """What a linear head is to learn, and how.

    Attributes:
        views: V × N × D standardised features of every sample, as it is and mirrored, on the device.
        labels: N int64 on the device.
        units: N numbers; samples of the same one never stand on both sides of a fold.
        class_weights: of the loss, by class; None for equal ones.
        l2: penalty of `fit_logistic`; None leaves it to cross-validation.
        smoothing: share of the target given to all classes.
        start: weight and bias from which the penalty holds the head back; None for zeros.
        sample_weights: N, of the samples' losses beside those of their classes; None for equal ones.
    """

    views: Tensor
    labels: Tensor
    num_classes: int
    units: np.ndarray
    seed: int
    class_weights: Tensor | None = None
    l2: float | None = None
    smoothing: float = 0.0
    start: Solution | None = None
    sample_weights: Tensor | None = None


@dataclass(frozen=True)
class Calibration:
    """Logits divided by a temperature (Guo et al., 2017), plus an offset by class (Alexandari et al., 2020).

    The bias of a head of few samples of a class suits these, whose logits lie further from the others than those of
    samples to come; held-out ones tell.
    """

    temperature: float = 1.0
    offsets: tuple[float, ...] = ()

    def apply(self, logits: Tensor) -> Tensor:
        """N × classes logits that are calibrated; as they are without offsets."""
        return logits / self.temperature + logits.new_tensor(self.offsets) if self.offsets else logits


@dataclass(frozen=True)
class CrossValidated:
    """What heads answered that had not seen the sample.

    Attributes:
        l2: the penalty that was chosen, or asked for.
        fold: N numbers; of every sample that it was held out in.
        logits: N × classes, not calibrated, on the CPU.
        calibration: of all held-out samples; none where they gain nothing by it.
        calibrated: `logits` put right by what was found without the sample's fold.
    """

    l2: float
    fold: np.ndarray
    logits: Tensor
    calibration: Calibration
    calibrated: Tensor

    @property
    def folds(self) -> int:
        """How many there are."""
        return int(self.fold.max()) + 1


def cross_validate(problem: HeadProblem) -> Generator[HeadFit, None, CrossValidated]:
    """Find the penalty and the calibration by the log loss of held-out samples.

    Of more than 3000 samples a part chooses the penalty, which then, as scikit-learn's `C`, is the same for a sum over
    all of them.
    """
    space, count = _Space(problem), len(problem.labels)
    fold = stratified_folds(problem.labels.cpu().numpy(), problem.units, problem.seed)
    l2, logits = problem.l2, None
    if l2 is None:
        order = np.sort(numpy_generator(problem.seed, "head").permutation(count)[:_MOST_CHOSEN_ON])
        l2, logits = yield from _choose_penalty(space, fold, order)
        l2 *= len(order) / count
    if logits is None or len(logits) < count:
        everyone = np.arange(count)
        logits, _ = yield from _held_out(space, fold, everyone, l2, [None] * _FOLDS, _ITERATIONS)
    logits, labels = logits.cpu(), problem.labels.cpu()
    weights = None if problem.class_weights is None else problem.class_weights.cpu()[labels]
    return CrossValidated(l2, fold, logits, *calibrate(logits, labels, fold, weights))


def fit_head(problem: HeadProblem, l2: float) -> Solution:
    """The head of all samples, at its optimum, on the views' device."""
    space = _Space(problem)
    weight, bias = space.fit(slice(None), l2, None, _ITERATIONS)
    if space.basis is not None:
        weight = weight @ space.basis.T
    if problem.start is not None:
        weight, bias = weight + problem.start[0].to(weight), bias + problem.start[1].to(bias)
    return weight, bias


def stratified_folds(labels: np.ndarray, units: np.ndarray, seed: int) -> np.ndarray:
    """The fold of each of N samples: at most five, alike in their classes, no unit in two of them."""
    own = [np.unique(units[labels == label]) for label in np.unique(labels)]
    folds = int(np.clip(min(map(len, own)), 2, _FOLDS))
    random, home = numpy_generator(seed, "folds"), {}
    for offset, members in enumerate(own):
        left = [unit for unit in random.permutation(members).tolist() if unit not in home]
        home |= {unit: (place + offset) % folds for place, unit in enumerate(left)}
    return np.array([home[unit] for unit in units.tolist()])


def calibrate(
    logits: Tensor, labels: Tensor, fold: np.ndarray, weights: Tensor | None = None
) -> tuple["Calibration", Tensor]:
    """What makes N × classes held-out logits probabilities, and these logits put right by what the other folds say.

    Nothing is done where samples that did not choose it do not gain by it.
    """
    found = logits.clone()
    for number in np.unique(fold):
        held = torch.from_numpy(fold == number)
        if held.all():
            return Calibration(), logits
        others = _fit_calibration(logits[~held], labels[~held], None if weights is None else weights[~held])
        found[held] = others.apply(logits[held])
    if doubting_losses(found, labels, weights).mean() >= doubting_losses(logits, labels, weights).mean():
        return Calibration(), logits
    return _fit_calibration(logits, labels, weights), found


def _fit_calibration(logits: Tensor, labels: Tensor, weights: Tensor | None) -> "Calibration":
    """The least loss, with a weak prior near no change (deviations: log temperature 0.5, offsets 3)."""
    logits = logits.double()

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = torch.from_numpy(values).requires_grad_()
        answers = logits * torch.exp(-parameters[0]) + parameters[1:]
        prior = (parameters[0] / 0.5).square() + (parameters[1:] / 3).square().sum()
        total = doubting_losses(answers, labels, weights).sum() + prior / 2
        total.backward()
        return float(total.detach()), parameters.grad.numpy()

    bounds = [(math.log(0.1), math.log(10.0)), *[(None, None)] * logits.shape[1]]
    values = minimize(loss, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds).x
    return Calibration(math.exp(values[0]), tuple(values[1:].tolist()))


def doubting_losses(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """N cross-entropies as if half a sample of all N had another label.

    Where every held-out answer is right, the plain loss asks for ever more certainty; yet N right ones say no more than
    that about one in 2 N may be wrong.
    """
    doubt = _DOUBT / (len(labels) + 1)
    classes = logits.shape[1]
    smoothing = doubt * classes / max(1, classes - 1)  # `label_smoothing` gives the true class its share, too
    losses = F.cross_entropy(logits.double(), labels, reduction="none", label_smoothing=min(smoothing, 1.0))
    return losses if weights is None else losses * weights


def _choose_penalty(
    space: "_Space", fold: np.ndarray, order: np.ndarray
) -> Generator[HeadFit, None, tuple[float, Tensor]]:
    """The penalty with the least loss of the held-out among the samples `order`, calibrated, and their logits."""
    labels, weights = space.labels[order].cpu(), space.weights(order)
    weights = None if weights is None else weights.cpu()
    best, found, chosen, worse = math.inf, None, PENALTIES[0], 0
    starts: list[Solution | None] = [None] * _FOLDS
    for number, l2 in enumerate(PENALTIES):
        logits, starts = yield from _held_out(space, fold, order, l2, starts, _ITERATIONS_OF_A_CHOICE, number)
        answers = _fit_calibration(logits.cpu(), labels, weights).apply(logits.cpu())
        loss = float(doubting_losses(answers, labels, weights).mean())
        worse = 0 if loss < best else worse + 1
        if loss < best:
            best, found, chosen = loss, logits, l2
        if worse == _WORSE_IN_A_ROW:
            break
    assert found is not None
    return chosen, found


def _held_out(
    space: "_Space",
    fold: np.ndarray,
    order: np.ndarray,
    l2: float,
    starts: list[Solution | None],
    iterations: int,
    number: int = 0,
) -> Generator[HeadFit, None, tuple[Tensor, list[Solution | None]]]:
    """Logits of the samples `order`, each by a head of those in other folds, and these heads."""
    own, found = fold[order], list(starts)
    logits = space.views.new_zeros(len(order), space.num_classes)
    for part in range(int(fold.max()) + 1):
        held = own == part
        solution = space.fit(order[~held], l2, starts[part], iterations)
        logits[torch.from_numpy(held)] = space.answer(solution, order[held])
        found[part] = solution
        yield HeadFit(number * _FOLDS + part + 1, len(PENALTIES) * _FOLDS)
    return logits, found


class _Space:
    """A problem in the space that its samples span, where they are fewer than dimensions: its optimum lies in there."""

    def __init__(self, problem: HeadProblem) -> None:
        views = problem.views.double() if problem.views.numel() <= _MOST_DOUBLES else problem.views
        self.offset = None
        if problem.start is not None:
            self.offset = views @ problem.start[0].to(views).T + problem.start[1].to(views)
        rows = views.flatten(0, 1)
        self.basis = torch.linalg.qr(rows.T).Q if len(rows) < rows.shape[1] else None
        self.views = views if self.basis is None else views @ self.basis
        self.labels, self.num_classes = problem.labels, problem.num_classes
        self._smoothing, self._weights = problem.smoothing, None
        if problem.class_weights is not None:
            self._weights = problem.class_weights.to(views)[self.labels]
        if problem.sample_weights is not None:
            own = problem.sample_weights.to(views) / problem.sample_weights.mean()
            self._weights = own if self._weights is None else own * self._weights

    def weights(self, chosen: np.ndarray | slice) -> Tensor | None:
        """Of these samples' losses."""
        return None if self._weights is None else self._weights[chosen]

    def fit(self, chosen: np.ndarray | slice, l2: float, start: Solution | None, iterations: int) -> Solution:
        """The head of all views of these samples."""
        count, weights = len(self.views), self.weights(chosen)
        return fit_logistic(
            self.views[:, chosen].flatten(0, 1),
            self.labels[chosen].repeat(count),
            self.num_classes,
            l2,
            start,
            iterations,
            weights=None if weights is None else weights.repeat(count),
            smoothing=self._smoothing,
            offset=None if self.offset is None else self.offset[:, chosen].flatten(0, 1),
        )

    def answer(self, solution: Solution, chosen: np.ndarray) -> Tensor:
        """Logits of these samples as they are."""
        logits = self.views[0, chosen] @ solution[0].T + solution[1]
        return logits if self.offset is None else logits + self.offset[0, chosen]


def fit_logistic(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    l2: float,
    start: Solution | None = None,
    iterations: int = 60,
    weights: Tensor | None = None,
    smoothing: float = 0.0,
    offset: Tensor | None = None,
) -> Solution:
    """Minimise mean cross-entropy + l2/2 · Σ weight² by L-BFGS.

    Args:
        features, labels: N × D and N.
        start: where to begin; zeros if None.
        weights: N, of the samples' losses.
        smoothing: share of the target given to all classes.
        offset: N × classes, added to the logits.
    """
    weight, bias = start or (features.new_zeros(num_classes, features.shape[1]), features.new_zeros(num_classes))
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=iterations, tolerance_grad=1e-6, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = features @ weight.T + bias
        logits = logits if offset is None else logits + offset
        losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
        loss = (losses if weights is None else losses * weights).mean() + l2 / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()
