"""None of these: how far an image lies from the training images of the class that was answered for it."""

from collections.abc import Generator
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor, nn

from dltool.data.features import Extracted
from dltool.data.limit import choose_evenly
from dltool.data.splits import join_splits

if TYPE_CHECKING:
    from dltool.finetune.linear_head import CrossValidated
    from dltool.finetune.score import Scorer
    from dltool.finetune.setup import Workbench

# The share of held-out images that are not called unknown.
KEPT = 0.95
_CENTERS, _MOST_CENTERS = 16, 1024
# A center of fewer images is these images.
_IMAGES_OF_A_CENTER = 3
_MOST_IMAGES = 3000


class Familiar(nn.Module):
    """What features of training images are like: a few directions for each class.

    The cosine to the nearest of them tells strangers nearly as well as that to the five nearest training images, and
    better than Mahalanobis' distance or the confidence of the head (`benchmarks/finetune_unknown.py`).
    """

    def __init__(self, dim: int, num_classes: int, centers: int) -> None:
        super().__init__()
        self.register_buffer("centers", torch.zeros(num_classes, centers, dim))
        self.register_buffer("threshold", torch.ones(()))

    def forward(self, features: Tensor, answers: Tensor) -> Tensor:
        """N distances of N × D features from their classes in N `answers`, in parts of the threshold.

        A distance is 1 - the cosine to the nearest center.
        """
        likeness = F.normalize(features, dim=1) @ self.centers.flatten(0, 1).T
        likeness = likeness.unflatten(1, self.centers.shape[:2])[
            torch.arange(len(answers), device=answers.device), answers
        ]
        return (1 - likeness.amax(1)) / self.threshold


def learn_familiar(
    features: Tensor, labels: np.ndarray, answers: Tensor, fold: np.ndarray, num_classes: int, seed: int
) -> Familiar:
    """Find the centers of N × D features, and the threshold that keeps 95 % of the held-out samples.

    Args:
        answers: N, of classifiers that had not seen the sample.
        fold: N; the samples of each number from 0 on are held out together, those below 0 never.
    """
    features, held_out = F.normalize(features.float(), dim=1), []
    for number in range(int(fold.max()) + 1):
        held = torch.from_numpy(fold == number)
        known = _find_centers(features[~held], labels[fold != number], num_classes, seed)
        held_out.append(known(features[held], answers[held]))
    found = _find_centers(features, labels, num_classes, seed)
    found.threshold.copy_(torch.cat(held_out).quantile(KEPT, interpolation="higher").clamp_min(1e-6))
    return found


def _find_centers(features: Tensor, labels: np.ndarray, num_classes: int, seed: int) -> Familiar:
    """Centers of k-means on features of length one; classes with few have the same one several times."""
    count = max(1, min(_CENTERS, _MOST_CENTERS // num_classes))
    found = Familiar(features.shape[1], num_classes, count)
    for label in np.unique(labels):
        own = features[torch.from_numpy(labels == label)].numpy()
        groups = min(count, max(1, len(own) // _IMAGES_OF_A_CENTER))
        centers = KMeans(groups, n_init=1, random_state=seed % 2**32).fit(own).cluster_centers_
        found.centers[label] = F.normalize(torch.from_numpy(np.resize(centers, (count, own.shape[1]))), dim=1)
    return found


def remember_images(
    bench: "Workbench", scorer: "Scorer", val_logits: Tensor, found: "CrossValidated | None"
) -> Generator[Extracted, None, None]:
    """Give the scorer's classifier a `Familiar` of (at most 3000) images of train and val.

    The threshold is that of `found`'s folds, or without it of val.
    """
    classifier, (train, val) = scorer.classifier, (bench.dataset.splits[name] for name in ("train", "val"))
    labels = np.concatenate([train.labels, val.labels])
    chosen = choose_evenly(labels, _MOST_IMAGES)
    fold, logits = np.repeat([-1, 0], [len(train), len(val)]), val_logits[:1].repeat(len(train), 1)
    fold, logits = (fold, torch.cat([logits, val_logits])) if found is None else (found.fold, found.calibrated)
    images = join_splits([train.take(chosen[chosen < len(train)]), val.take(chosen[chosen >= len(train)] - len(train))])
    features = yield from scorer.split_features(images)
    what = features, labels[chosen], logits.argmax(1)[chosen], fold[chosen]
    familiar = learn_familiar(*what, bench.num_classes, bench.settings.seed)
    classifier.module.familiar = familiar.to(bench.device)
    classifier.arguments["familiar"] = familiar.centers.shape[1]
