"""Figures of merit against scikit-learn and by hand."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as sk

from dltool.finetune.metrics import calibration_error, classification_metrics, wilson_interval
from dltool.finetune.report import BELOW, _by_confusion, class_table, describe_accuracy
from dltool.images.read import read_image
from dltool.plots import fonts_for, plot_confusion


def test_figures_agree_with_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 7, (300,), generator=generator)
    logits = torch.randn(300, 7, generator=generator)
    logits[torch.arange(300), labels] += 1
    names = tuple("abcdefg")
    found = classification_metrics(logits, labels, names)
    answers = logits.argmax(1)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, answers))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, answers))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(labels, answers, average="macro"))
    assert found["top5_accuracy"] == pytest.approx(sk.top_k_accuracy_score(labels, logits, k=5))
    assert found["loss"] == pytest.approx(sk.log_loss(labels, logits.double().softmax(1)))
    assert np.array_equal(found["confusion"], sk.confusion_matrix(labels, answers))
    precision, recall, f1, support = sk.precision_recall_fscore_support(labels, answers)
    for index, name in enumerate(names):
        row = found["per_class"][name]
        expected = (precision[index], recall[index], f1[index], support[index])
        assert (row["precision"], row["recall"], row["f1"], row["samples"]) == pytest.approx(expected)


def test_classes_that_do_not_occur_do_not_count() -> None:
    labels = torch.tensor([0, 0, 1])
    logits = torch.tensor([[2.0, 0, 0], [2.0, 0, 0], [0, 2.0, 0]])
    found = classification_metrics(logits, labels, ("a", "b", "absent"))
    assert found["balanced_accuracy"] == found["macro_f1"] == 1.0


def test_wilson_interval() -> None:
    low, high = wilson_interval(147, 153)
    assert (round(low, 4), round(high, 4)) == (0.9171, 0.9819)
    assert wilson_interval(10, 10)[1] == pytest.approx(1.0)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_calibration_error_of_known_confidences() -> None:
    # Confidence 0.8 throughout, right in 6 of 10: the error is 0.2.
    logits = torch.tensor([[np.log(4.0), 0.0]] * 10)
    assert calibration_error(logits, torch.tensor([0] * 6 + [1] * 4)) == pytest.approx(0.2, abs=1e-6)


def test_many_classes_show_the_worst_the_best_and_what_is_confused() -> None:
    names = tuple(f"c{number:02}" for number in range(30))
    labels = torch.arange(30).repeat_interleave(10)
    answers = labels.clone()
    answers[70:74] = 21  # c07 is taken for c21
    metrics = classification_metrics(torch.nn.functional.one_hot(answers, 30).float(), labels, names)
    lines = class_table(metrics)
    assert [line.split()[0] for line in lines[1:3]] == ["c07", "c21"]
    assert len(lines) == 1 + 10 + 1 + 10 + 1
    assert "30 classes in all" in lines[11]
    assert lines[-1] == "c07 was taken for c21: 4 of 10"
    matrix, order = _by_confusion(metrics["confusion"], names)
    assert abs(order.index("c07") - order.index("c21")) == 1
    assert sorted(order) == list(names)
    assert matrix[order.index("c07")][order.index("c21")] == 4


@pytest.mark.parametrize("name", ["\u732b", "\U00012345"])  # a cat, and a cuneiform sign that hardly a system has
def test_names_that_no_font_has_become_numbers_without_a_warning(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_confusion(tmp_path / "c.png", [[3, 1], [0, 4]], (name, "dog"))
    assert read_image(tmp_path / "c.png").pixels.std() > 5
    assert (fonts_for(["dog", "\U0010fffd"]), fonts_for(["dog"])) == (None, ["DejaVu Sans"])


def test_a_line_says_where_guessing_the_largest_class_is_better() -> None:
    labels = torch.tensor([0] * 9 + [1])
    for wrong, worse in ((0, False), (1, False), (2, True)):
        answers = labels.clone()
        answers[:wrong] = 1
        metrics = classification_metrics(F.one_hot(answers, 2).float(), labels, ("a", "b"))
        assert describe_accuracy(metrics).endswith(BELOW) == worse
