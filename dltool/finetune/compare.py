"""`--compare`: the same data learnt in every way at an equal budget, in one table and one chart."""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.pooled import remove_classifier
from dltool.backbones.registry import create_backbone
from dltool.data.features import Extracted, FeatureExtractor
from dltool.data.load import DataReport
from dltool.data.pixels import PixelReader
from dltool.data.settings import DataSettings
from dltool.data.splits import Dataset
from dltool.events import expanded
from dltool.finetune.continuation import find_continuation
from dltool.finetune.metrics import classification_metrics
from dltool.finetune.name_match import match_classes, zero_shot_logits
from dltool.finetune.settings import FinetuneSettings, Strategy
from dltool.finetune.train import Event, FinetuneResult, finetune
from dltool.plots import plot_intervals
from dltool.training import distributed
from dltool.training.context import RunContext
from dltool.training.run_folder import RunFolder

_WAYS = (Strategy.FEATURES, Strategy.PARTIAL, Strategy.TWO_PHASE, Strategy.FULL, Strategy.SCRATCH)
_EPOCHS = 4
# From this share of the classes named as one of ImageNet's, its images were probably seen in pretraining.
_NAMED_SHARE = 0.5


@dataclass(frozen=True)
class CompareRow:
    """One way's figures on the same images (`split`: test, else val)."""

    name: str
    split: str
    metrics: dict[str, Any]
    seconds: float
    epochs: int
    trainable: int
    total: int
    note: str = ""


def without_effect(settings: FinetuneSettings) -> dict[str, str]:
    """Settings that change nothing in a comparison, and why: no way knows them.

    Raises:
        SettingsError: one of the ways cannot be gone with these settings.
    """
    per_way = [replace(settings, strategy=way).without_effect() for way in _WAYS]
    unknown = [name for name in per_way[0] if all(name in found for found in per_way)]
    found = dict.fromkeys(unknown, "with --compare, whose ways don't know it")
    return found | {"strategy": "with --compare, which goes every way"}


def compare_strategies(
    data: DataSettings, settings: FinetuneSettings, context: RunContext
) -> Generator[Event | CompareRow, None, list[CompareRow] | None]:
    """Yield the events of each run and a CompareRow after it; return the rows, or None if it was stopped.

    Every way has the settings that it knows, and the same budget: so many epochs of images through the network (4
    unless said otherwise), or the same time. The runs are written below the run's folder.

    Raises:
        DataError: the data cannot be used.
    """
    settings, own = find_continuation(settings)
    settings = replace(settings, backbone=settings.backbone or DEFAULT_BACKBONE, epochs=settings.epochs or _EPOCHS)
    rows: list[CompareRow] = []

    def begin(event: Event) -> Iterator[Event | CompareRow]:
        yield event
        if isinstance(event, DataReport):
            if context.run is not None and distributed.rank() == 0:
                context.run.create(context.overwrite, "finetune --compare")
            row = None if own else (yield from _zero_shot(event.dataset, settings, context))
            if row is not None:
                rows.append(row)
                yield row

    def go_on(event: Event) -> list[Event]:
        return [] if isinstance(event, DataReport) else [event]

    for way in _WAYS:
        place = context
        if context.run is not None:
            place = replace(context, run=RunFolder(context.run.path / way.value), overwrite=True)
        result = yield from expanded(_way(data, _known_to(way, settings), place), begin if way is _WAYS[0] else go_on)
        if result is None:
            return None
        rows.append(_row(way.value, result))
        yield rows[-1]
    return rows


def _known_to(way: Strategy, settings: FinetuneSettings) -> FinetuneSettings:
    """The settings without those that this way does not know."""
    settings, plain = replace(settings, strategy=way), FinetuneSettings(strategy=way)
    unknown = [name for name in settings.without_effect() if name in vars(settings)]
    return replace(settings, **{name: getattr(plain, name) for name in unknown})


def _way(
    data: DataSettings, settings: FinetuneSettings, context: RunContext
) -> Generator[Event, None, FinetuneResult | None]:
    """One way's run; a folder in which nothing was trained is taken away again."""
    try:
        return (yield from finetune(data, settings, context))
    except BaseException:
        if context.run is not None:
            context.run.discard_unstarted()
        raise


def _row(name: str, result: FinetuneResult) -> CompareRow:
    return CompareRow(
        name=name,
        split="test" if result.test_metrics else "val",
        metrics=result.test_metrics or result.metrics,
        seconds=result.seconds,
        epochs=result.epochs,
        trainable=sum(block.trainable for block in result.parameters),
        total=sum(block.total for block in result.parameters),
    )


def _zero_shot(
    dataset: Dataset, settings: FinetuneSettings, context: RunContext
) -> Generator[Extracted, None, CompareRow | None]:
    """The untouched 1000-class network; right only where its top answer is the class or one of its kinds.

    Returns:
        None where it knows none of the classes.
    """
    started = time.perf_counter()
    backbone = create_backbone(settings.backbone, settings.weights, settings.seed)
    total = sum(p.numel() for p in backbone.module.parameters())
    body, _, layer = remove_classifier(backbone)
    name = "test" if "test" in dataset.splits else "val"
    matches = match_classes(dataset.class_names)
    unnamed = [c for c, rows in matches.items() if not rows]
    if layer is None or layer.out_features != 1000 or len(unnamed) == len(dataset.class_names):
        return None
    split = dataset.splits[name]
    extractor = FeatureExtractor(body, backbone.preprocessing, context.device, cache=context.cache)
    yield from extractor.fill(split, PixelReader(backbone.preprocessing), context.workers)
    with torch.inference_mode():
        answers = layer(extractor.store().rows(split.hashes))
    metrics = _zero_shot_metrics(answers, torch.from_numpy(split.labels), dataset.class_names)
    note = f"no ImageNet class is named like {', '.join(unnamed[:4])}" if unnamed else ""
    return CompareRow("zero-shot", name, metrics, time.perf_counter() - started, 0, 0, total, note)


def _zero_shot_metrics(answers: Tensor, labels: Tensor, class_names: tuple[str, ...]) -> dict[str, Any]:
    """Metrics in which an answer outside one's own classes is a mistake."""
    scores, own = zero_shot_logits(answers, class_names)
    # One more class for every answer outside one's own: never true, never right.
    other = torch.where(own, float("-inf"), float("inf"))[:, None]
    extended = torch.cat([scores, other], dim=1).clamp(-1e4, 1e4)
    metrics = classification_metrics(extended, labels, (*class_names, "(another class)"))
    f1 = [row["f1"] for row in metrics["per_class"].values() if row["samples"]]
    forced = (scores.argmax(1) == labels).double().mean()
    return metrics | {"macro_f1": sum(f1) / len(f1), "forced_choice_accuracy": float(forced)}


def comparison_table(rows: Sequence[CompareRow]) -> list[str]:
    """Lines of the table."""
    lines = [
        f"{'way':10}  {'accuracy':>8}  {'95 % interval':>14}  {'macro-F1':>8}  {'epochs':>6}  {'time':>8}  trainable"
    ]
    for row in rows:
        low, high = row.metrics["accuracy_interval"]
        lines.append(
            f"{row.name:10}  {100 * row.metrics['accuracy']:6.1f} %  {100 * low:5.1f} to {100 * high:5.1f}  "
            f"{100 * row.metrics['macro_f1']:6.1f} %  {row.epochs:6}  {row.seconds:6.1f} s  "
            f"{row.trainable:,} of {row.total:,}"
        )
    return lines


def comparison_notes(rows: Sequence[CompareRow], class_names: Sequence[str], settings: FinetuneSettings) -> list[str]:
    """What a reader of the table should know."""
    epochs = settings.epochs or _EPOCHS
    budget = f"{epochs} epochs of images" if settings.time is None else f"{settings.time:g} seconds, {epochs} epochs"
    notes = [
        f"accuracy on {rows[0].metrics['samples']} pictures of {rows[0].split}",
        f"equal budget: at most {budget} through the network; features goes through each image once and once mirrored",
    ]
    notes += [f"{row.name}: {row.note}" for row in rows if row.note]
    matches = match_classes(tuple(class_names))
    named = [name for name, found in matches.items() if found]
    if len(named) >= _NAMED_SHARE * len(class_names):
        notes.append(
            f"{', '.join(named[:4])}: named like classes of ImageNet, so these very pictures may have been in the "
            "pretraining; zero-shot and tuned figures can be too good for new data"
        )
    return notes


def write_chart(folder: Path, rows: Sequence[CompareRow], settings: FinetuneSettings) -> list[str]:
    """Write `compare.png`, and return the notes that belong to it."""
    bars = [(row.name, row.metrics["accuracy"], *row.metrics["accuracy_interval"]) for row in rows]
    title = f"Accuracy on {rows[0].metrics['samples']} pictures of {rows[0].split}"
    plot_intervals(folder / "compare.png", bars, "accuracy (%), with 95 % interval", title)
    return comparison_notes(rows, list(rows[-1].metrics["per_class"]), settings)
