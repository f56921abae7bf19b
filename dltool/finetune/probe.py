"""The linear probe: how far a linear layer on frozen features gets, measured by cross-validation in seconds."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.training.seeds import numpy_generator

# Penalties on the squared weights, for features of unit variance and the mean loss of a sample.
PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
_FOLDS = 5
_MOST_SAMPLES = 3000


@dataclass(frozen=True)
class Probe:
    """Cross-validated accuracy in [0, 1] and log loss at the L2 penalty that was chosen, from `samples` samples."""

    accuracy: float
    loss: float
    l2: float
    samples: int
    folds: int


def run_probe(features: Tensor, labels: Tensor, num_classes: int, seed: int) -> Probe:
    """Cross-validate logistic regression on N × D features for every penalty.

    Returned is the strongest penalty whose log loss is within one standard error of the least (Breiman et al., 1984):
    among those that the data cannot tell apart, the simplest model.

    Folds are stratified; a class with fewer samples than folds is absent from some. Of more than 3000 samples a part
    is taken. The features are standardised by each fold's training part.
    """
    order = numpy_generator(seed, "probe").permutation(len(labels))[:_MOST_SAMPLES]
    features, labels = features[order], labels[order]
    folds = _stratified_folds(labels.numpy(), _FOLDS)
    losses, hits = torch.zeros(len(PENALTIES), len(labels)), torch.zeros(len(PENALTIES))
    for fold in range(_FOLDS):
        held = torch.from_numpy(folds == fold)
        if not held.any() or held.all():
            continue
        train, test = _span(features[~held], features[held])
        start = None
        for number, l2 in enumerate(PENALTIES):
            start = fit_logistic(train, labels[~held], num_classes, l2, start=start)
            logits = test @ start[0].T + start[1]
            losses[number, held] = F.cross_entropy(logits, labels[held], reduction="none")
            hits[number] += (logits.argmax(1) == labels[held]).sum()
    count = len(labels)
    means, least = losses.mean(1), int(losses.mean(1).argmin())
    bound = means[least] + losses[least].std() / count**0.5
    chosen = next(number for number in range(len(PENALTIES)) if means[number] <= bound)
    return Probe(float(hits[chosen] / count), float(means[chosen]), PENALTIES[chosen], count, _FOLDS)


def fit_logistic(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    l2: float,
    start: tuple[Tensor, Tensor] | None = None,
    iterations: int = 60,
) -> tuple[Tensor, Tensor]:
    """Minimise mean cross-entropy + l2/2 · Σ weight² by L-BFGS.

    Returns:
        Weight (classes × D) and bias (classes).
    """
    weight, bias = start or (features.new_zeros(num_classes, features.shape[1]), features.new_zeros(num_classes))
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=iterations, tolerance_grad=1e-5, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(features @ weight.T + bias, labels) + l2 / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach(), bias.detach()


def _stratified_folds(labels: np.ndarray, folds: int) -> np.ndarray:
    numbers = np.empty(len(labels), int)
    for offset, label in enumerate(np.unique(labels)):
        members = np.flatnonzero(labels == label)
        numbers[members] = (np.arange(len(members)) + offset) % folds
    return numbers


def _span(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Standardise, and where samples are fewer than dimensions turn to the space that they span.

    The penalised optimum lies in that space, so nothing is lost, and 1280 dimensions become 200.
    """
    mean, deviation = train.mean(0), train.std(0, correction=0)
    scale = (deviation + 0.02 * deviation.mean()).clamp_min(1e-8)
    train, test = (train - mean) / scale, (test - mean) / scale
    if len(train) >= train.shape[1]:
        return train, test
    basis = torch.linalg.qr(train.T).Q
    return train @ basis, test @ basis
