"""The linear probe against scikit-learn, and the rule that it feeds."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from dltool.finetune.linear_head import fit_logistic
from dltool.finetune.probe import Probe, run_probe
from dltool.finetune.settings import Strategy
from dltool.finetune.strategy import choose_strategy


def digits(count: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    data = load_digits()
    return torch.tensor(data.data[:count] / 16, dtype=torch.float32), torch.tensor(data.target[:count])


def test_logistic_regression_agrees_with_scikit_learn() -> None:
    features, labels = digits()
    l2 = 0.01
    weight, bias = fit_logistic(features, labels, 10, l2, iterations=300)
    other = LogisticRegression(C=1 / (l2 * len(labels)), max_iter=2000, tol=1e-6).fit(features, labels)
    mine = (features @ weight.T + bias).softmax(1).numpy()
    assert np.abs(mine - other.predict_proba(features)).max() < 2e-3


def test_probe_accuracy_is_that_of_unseen_samples() -> None:
    features, labels = digits()
    probe = run_probe(features, labels, 10, seed=0)
    assert 0.9 < probe.accuracy < 0.99
    random = run_probe(features, labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))], 10, 0)
    assert random.accuracy < 0.2


def test_more_dimensions_than_samples_change_nothing_but_the_time() -> None:
    features, labels = digits(120)
    rotation = torch.linalg.qr(torch.randn(300, 64, generator=torch.Generator().manual_seed(0))).Q
    low, high = run_probe(features, labels, 10, 0), run_probe(features @ rotation.T, labels, 10, 0)
    assert high.samples == low.samples
    assert high.accuracy > 0.8


@pytest.mark.parametrize(
    ("accuracy", "samples", "strategy"),
    [
        (0.96, 240, Strategy.FEATURES),
        (0.999, 5000, Strategy.FEATURES),
        (0.96, 5000, Strategy.TWO_PHASE),
        (0.6, 240, Strategy.PARTIAL),
        (0.6, 5000, Strategy.FULL),
    ],
)
def test_the_rule_of_size_and_similarity(accuracy: float, samples: int, strategy: Strategy) -> None:
    decision = choose_strategy(Probe(accuracy, 0.1, 1.0, samples, 5), samples, num_classes=2)
    assert decision.strategy is strategy
    assert f"{100 * accuracy:.1f} %" in decision.reason
    assert f"{samples // 2} pictures per class" in decision.reason
