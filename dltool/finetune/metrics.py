"""Figures of merit of a classifier from its logits."""

from typing import Any

import numpy as np
import torch.nn.functional as F
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import Tensor

_ECE_BINS = 15


def classification_metrics(logits: Tensor, labels: Tensor, class_names: tuple[str, ...]) -> dict[str, Any]:
    """Everything that a report needs, as JSON knows it.

    Args:
        logits: N × classes.
        labels: N int64.

    Returns:
        `samples`, `loss` (mean cross-entropy), `accuracy` (top-1, in [0, 1]) with its 95 % `accuracy_interval`,
        `top5_accuracy` (from 6 classes on), `balanced_accuracy` (mean recall of the classes that occur),
        `majority_accuracy` (of always answering the most frequent class), `macro_f1` (mean F1 of the classes that
        occur or were answered), `ece`, `per_class`, `confusion` (rows: true class).
    """
    count, answers = len(labels), logits.argmax(1)
    hits = int((answers == labels).sum())
    classes = range(len(class_names))
    confusion = confusion_matrix(labels, answers, labels=classes)
    scores = precision_recall_fscore_support(labels, answers, labels=classes, zero_division=0.0)
    precision, recall, f1, true = map(np.asarray, scores)
    total = true + confusion.sum(0)
    metrics: dict[str, Any] = {
        "samples": count,
        "loss": float(F.cross_entropy(logits.double(), labels)),
        "accuracy": hits / count,
        "accuracy_interval": list(wilson_interval(hits, count)),
    }
    if len(class_names) > 5:
        top = logits.topk(5, dim=1).indices
        metrics["top5_accuracy"] = float((top == labels[:, None]).any(1).double().mean())
    metrics |= {
        "balanced_accuracy": float(recall[true > 0].mean()),
        "majority_accuracy": int(true.max()) / max(1, count),
        "macro_f1": float(f1[total > 0].mean()),
        "ece": calibration_error(logits, labels),
        "per_class": {
            name: {
                "samples": int(true[i]),
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
            }
            for i, name in enumerate(class_names)
        },
        "confusion": confusion.tolist(),
    }
    return metrics


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """95 % confidence interval of a share (E. B. Wilson, 1927); honest for small counts and near 0 and 1."""
    if count == 0:
        return 0.0, 1.0
    interval = binomtest(hits, count).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def reliability(logits: Tensor, labels: Tensor, bins: int = _ECE_BINS) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy and count of the samples in each of equally wide bins of confidence."""
    confidence, answers = logits.double().softmax(1).max(1)
    right = (answers == labels).double()
    index = (confidence * bins).long().clamp_max(bins - 1)
    rows = []
    for number in range(bins):
        inside = index == number
        count = int(inside.sum())
        rows.append((float(confidence[inside].mean()), float(right[inside].mean()), count) if count else (0.0, 0.0, 0))
    return rows


def calibration_error(logits: Tensor, labels: Tensor) -> float:
    """Expected calibration error (Guo et al., 2017): mean |accuracy - confidence| over 15 bins, weighted by count."""
    rows = reliability(logits, labels)
    return sum(count * abs(accuracy - confidence) for confidence, accuracy, count in rows) / max(1, len(labels))
