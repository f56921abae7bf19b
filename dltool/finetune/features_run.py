"""The strategy `features`: a linear head on frozen features at the optimum of its loss, and what it is worth."""

from collections.abc import Generator, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from dltool.data.features import Extracted
from dltool.data.splits import Split, join_splits, units_of
from dltool.finetune.classifier_file import TrainedClassifier
from dltool.finetune.linear_head import CrossValidated, HeadFit, HeadProblem, Solution, cross_validate, fit_head
from dltool.finetune.metrics import classification_metrics
from dltool.finetune.network import Standardize
from dltool.finetune.settings import Augment, Balance, FinetuneSettings, Head, HeadInit, Strategy
from dltool.finetune.setup import Body, Workbench
from dltool.finetune.unlabelled import spread_labels
from dltool.training import distributed
from dltool.training.events import Notice

EVERYTHING = ("train", "val")
# How `measured` calls figures of images by models that had not seen them, though the model of the file has.
HELD_OUT = "cross-validated"


def is_convex(settings: FinetuneSettings) -> bool:
    """Whether all that is trained is a linear head over frozen features, whose loss has one optimum."""
    return settings.strategy is Strategy.FEATURES and settings.head is Head.LINEAR


def fit_features(
    bench: Workbench, body: Body, classifier: TrainedClassifier, names: Sequence[str] = EVERYTHING
) -> Generator[Extracted | HeadFit | Notice, None, CrossValidated]:
    """Fit the classifier's head, which has measured its features (`start_head`), on the splits of these names.

    Standardisation and calibration are folded into the weights, so that whoever loads the model has calibrated answers.
    Every process of torchrun does the same small work, and goes on with the first one's tensors.
    """
    problem = yield from _pose(bench, body, classifier, names)
    found, solution = (yield from cross_validate(problem)), None
    standardize, linear = classifier.module.head[0], classifier.module.head[-1]
    if bench.unlabelled is not None:
        views = yield from _views(bench, body, classifier, [bench.unlabelled])
        own = torch.cat([problem.views[0], views[0]]) * standardize.scale.to(views) + standardize.mean.to(views)
        what = (problem, found, views, torch.nn.functional.normalize(own, dim=1).cpu())
        found, solution, bench.spread = yield from spread_labels(*what)
        yield Notice(str(bench.spread))
    weight, bias = fit_head(problem, found.l2) if solution is None else solution
    weight, bias = (tensor.double().to(linear.weight.device) for tensor in (weight, bias))
    bias, weight = found.calibration.apply(bias), weight / found.calibration.temperature / standardize.scale.double()
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(bias - weight @ standardize.mean.double())
        standardize.mean.zero_()
        standardize.scale.fill_(1.0)
    distributed.share_tensors(classifier.module.head.state_dict().values())
    return found


def _pose(
    bench: Workbench, body: Body, classifier: TrainedClassifier, names: Sequence[str]
) -> Generator[Extracted, None, HeadProblem]:
    settings, linear = bench.settings, classifier.module.head[-1]
    assert isinstance(linear, nn.Linear)
    splits = [bench.dataset.splits[name] for name in names]
    views = yield from _views(bench, body, classifier, splits)
    device = views.device
    labels = torch.cat([bench.labels(name) for name in names]).to(device)
    start: Solution | None = None
    if settings.head_init is HeadInit.NAMES or bench.continuation is not None:
        start = (linear.weight.detach().to(device), linear.bias.detach().to(device))
    return HeadProblem(
        views=views,
        labels=labels,
        num_classes=bench.num_classes,
        units=units_of(join_splits(splits)),
        seed=settings.seed,
        class_weights=None if settings.balance is Balance.NONE else bench.class_weights(labels),
        l2=settings.head_l2,
        smoothing=settings.label_smoothing or 0.0,
        start=start,
    )


def _views(
    bench: Workbench, body: Body, classifier: TrainedClassifier, splits: Sequence[Split]
) -> Generator[Extracted, None, Tensor]:
    """V × N × D standardised features of splits, as they are and mirrored."""
    flips = (False,) if bench.settings.augment is Augment.NONE else (False, True)
    for flipped in flips:
        yield from body.fill(*splits, flipped=flipped)
    device = torch.device("cpu") if bench.device.type == "mps" else bench.device  # which knows no float64
    standardize = classifier.module.head[0]
    assert isinstance(standardize, Standardize)
    views = torch.stack([torch.cat([body.features(split, flipped) for split in splits]) for flipped in flips])
    return (views.to(device) - standardize.mean.to(device)) / standardize.scale.to(device)


def held_out_metrics(
    bench: Workbench, found: CrossValidated, class_names: tuple[str, ...]
) -> tuple[Tensor, dict[str, Any], dict[str, Any]]:
    """Val's logits and metrics, and metrics of train and val together, all by heads that had not seen the image.

    They have `folds`, `l2`, the calibration's `temperature` and `offsets`, and the last, of before it,
    `ece_uncalibrated` and `loss_uncalibrated`.
    """
    labels = torch.cat([bench.labels(name) for name in EVERYTHING])
    logits = found.calibrated[len(bench.labels("train")) :]
    how = {"measured": HELD_OUT, "folds": found.folds, "l2": found.l2, **asdict(found.calibration)}
    val = classification_metrics(logits, bench.labels("val"), class_names) | how
    whole = classification_metrics(found.calibrated, labels, class_names) | how
    before = classification_metrics(found.logits, labels, class_names)
    return logits, val, whole | {f"{name}_uncalibrated": before[name] for name in ("ece", "loss")}
