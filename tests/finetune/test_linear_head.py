"""The head at its optimum, against scikit-learn, closed forms, and figures of samples that it has not seen."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from dltool.events import finish
from dltool.finetune.linear_head import (
    Calibration,
    CrossValidated,
    HeadProblem,
    calibrate,
    cross_validate,
    doubting_losses,
    fit_head,
    stratified_folds,
)
from dltool.finetune.metrics import calibration_error
from tests.finetune.test_probe import digits


def standard(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    features, labels = digits(1700)
    chosen = torch.randperm(1700, generator=torch.Generator().manual_seed(0))[:count]  # its order is that of writers
    features = features[chosen]
    return (features - features.mean(0)) / features.std(0).clamp_min(0.05), labels[chosen]


def problem(features: torch.Tensor, labels: torch.Tensor, **more: Any) -> HeadProblem:
    units = more.pop("units", np.arange(len(labels)))
    return HeadProblem(features[None], labels, int(labels.max()) + 1, units, 0, **more)


def validated(features: torch.Tensor, labels: torch.Tensor, **more: Any) -> CrossValidated:
    return finish(cross_validate(problem(features, labels, **more)))


def test_it_is_scikit_learns_optimum_of_all_samples() -> None:
    features, labels = standard(300)
    weight, bias = fit_head(problem(features, labels), 0.05)
    other = LogisticRegression(C=1 / (0.05 * 300), max_iter=5000, tol=1e-8).fit(features.double(), labels)
    mine = (features.double() @ weight.T + bias).softmax(1)
    assert np.abs(mine.numpy() - other.predict_proba(features.double())).max() < 1e-4


def test_more_dimensions_than_samples_are_turned_without_a_loss() -> None:
    features, labels = standard(100)
    rotation = torch.linalg.qr(torch.randn(300, 64, generator=torch.Generator().manual_seed(0))).Q
    low, high = validated(features, labels, l2=0.1), validated(features @ rotation.T, labels, l2=0.1)
    assert torch.allclose(low.logits, high.logits, atol=1e-3)
    weights = [fit_head(problem(x, labels), 0.1)[0] for x in (features, features @ rotation.T)]
    assert torch.allclose(weights[0] @ rotation.T.double(), weights[1], atol=1e-3)


def test_the_penalty_and_the_calibration_serve_samples_that_were_not_seen() -> None:
    features, labels = standard(1000)
    seen = problem(features[:200], labels[:200])
    found = finish(cross_validate(seen))

    def logits_of_others(l2: float) -> torch.Tensor:
        weight, bias = fit_head(seen, l2)
        return features[200:].double() @ weight.T + bias

    loss = float(F.cross_entropy(found.calibration.apply(logits_of_others(found.l2)), labels[200:]))
    assert loss < min(float(F.cross_entropy(logits_of_others(l2), labels[200:])) for l2 in (3.0, 0.0003))
    assert calibration_error(found.calibration.apply(logits_of_others(found.l2)), labels[200:]) < 0.06
    assert float(F.cross_entropy(found.calibrated, labels[:200])) == pytest.approx(loss, rel=0.4)


def test_held_out_answers_know_nothing_of_random_labels() -> None:
    features, _ = standard(200)
    labels = torch.randint(0, 2, (200,), generator=torch.Generator().manual_seed(1))
    held_out = validated(features, labels, l2=0.001).logits
    assert float((held_out.argmax(1) == labels).double().mean()) < 0.62
    weight, bias = fit_head(problem(features, labels), 0.001)
    seen = (features.double() @ weight.T + bias).argmax(1)
    assert float((seen == labels).double().mean()) > 0.68


def test_one_unit_is_never_on_both_sides() -> None:
    fold = stratified_folds(np.arange(40) // 2 % 2, np.arange(40) // 2, 0)
    assert sorted(set(fold)) == [0, 1, 2, 3, 4]
    assert (fold[::2] == fold[1::2]).all()
    assert stratified_folds(np.array([0] * 10 + [1] * 3), np.arange(13), 0).max() == 2


def test_weights_of_classes_are_those_of_repeated_samples() -> None:
    features, labels = standard(200)
    labels = (labels == 3).long()
    rare = torch.cat([torch.nonzero(labels == label).flatten()[:count] for label, count in ((0, 90), (1, 10))])
    weights = torch.tensor([100 / 180, 100 / 20])
    weighed = fit_head(problem(features[rare], labels[rare], class_weights=weights), 0.1)
    again = torch.cat([rare[:90], rare[90:].repeat(9)])
    repeated = fit_head(problem(features[again], labels[again]), 0.1)
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(weighed, repeated, strict=True))


def test_a_start_is_where_a_strong_penalty_leaves_the_head() -> None:
    features, labels = standard(100)
    start = (torch.randn(2, 64, generator=torch.Generator().manual_seed(0)), torch.zeros(2))
    weight, _ = fit_head(problem(features, labels % 2, start=start), 1e4)
    assert torch.allclose(weight, start[0].double(), atol=1e-3)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_the_calibration_undoes_a_factor_and_a_shift(factor: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20_000, 3, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).flatten()
    shift = torch.tensor([1.0, 0.0, -1.0])
    found, right = calibrate((logits + shift) * factor, labels, np.arange(20_000) % 5)
    assert found.temperature == pytest.approx(factor, rel=0.04)
    assert found.offsets == pytest.approx((-shift).tolist(), abs=0.07)
    assert torch.allclose(right.double().softmax(1), logits.double().softmax(1), atol=0.03)


def test_a_calibration_that_held_out_samples_lose_by_is_left_alone() -> None:
    # The folds contradict each other: what suits four of them is wrong for the fifth.
    logits = torch.tensor([[3.0, 0.0]]).repeat(100, 1)
    labels, fold = torch.zeros(100, dtype=torch.long), np.repeat(np.arange(2), 50)
    labels[:40] = 1
    assert calibrate(logits, labels, fold) == (Calibration(), logits)


def test_answers_that_are_all_right_are_not_worth_any_certainty() -> None:
    labels, share = torch.zeros(40, dtype=torch.long), torch.tensor(0.5 / 41)
    losses = [float(doubting_losses(torch.tensor([[s, 0.0]]).repeat(40, 1), labels).mean()) for s in (2.0, 4.4, 12.0)]
    assert losses[1] == min(losses)
    assert losses[1] == pytest.approx(float(F.binary_cross_entropy(share, share)), rel=0.01)
