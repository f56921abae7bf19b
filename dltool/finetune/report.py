"""What a run or an evaluation shows: tables as text, charts, a sheet of mistakes."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from torch import Tensor

from dltool.data.pixels import PixelReader
from dltool.data.splits import Split
from dltool.files import write_atomically
from dltool.finetune.augment import augment_pixels
from dltool.finetune.metrics import reliability
from dltool.finetune.settings import Augment
from dltool.finetune.setup import BlockParameters
from dltool.images.sheet import Tile, contact_sheet
from dltool.images.write import write_image
from dltool.plots import plot_confusion, plot_curves, plot_reliability
from dltool.tables import to_csv
from dltool.training.events import EpochEnd
from dltool.training.seeds import numpy_generator

_MISTAKES = 16
_VARIATIONS = 9
_MANY_CLASSES = 20
BELOW = ", which is more: these images do not tell the classes apart; try --balance weights or more images of the rare"


def write_report(
    folder: Path,
    metrics: dict[str, Any],
    logits: Tensor,
    split: Split,
    class_names: tuple[str, ...],
    history: Sequence[dict[str, Any]] = (),
) -> list[Path]:
    """Write `confusion.png`, `reliability.png`, with a history `curves.png`, with mistakes `mistakes.png`.

    Returns:
        The files that were written.
    """
    import torch

    labels = torch.from_numpy(split.labels)
    written = [folder / "confusion.png", folder / "reliability.png"]
    plot_confusion(written[0], *_by_confusion(metrics["confusion"], class_names))
    plot_reliability(written[1], reliability(logits, labels), metrics["ece"])
    if history:
        plot_curves(folder / "curves.png", history)
        written.append(folder / "curves.png")
    tiles = mistake_tiles(logits, split, class_names)
    if tiles:
        title = f"Most confident mistakes ({len(tiles)} of {int((logits.argmax(1) != labels).sum())})"
        write_image(folder / "mistakes.png", contact_sheet(tiles, columns=4, tile_size=200, title=title))
        written.append(folder / "mistakes.png")
    else:
        (folder / "mistakes.png").unlink(missing_ok=True)
    return written


def _by_confusion(confusion: Sequence[Sequence[int]], class_names: Sequence[str]) -> tuple[list[list[int]], list[str]]:
    """From 20 classes on the matrix with what is confused side by side (average linkage, optimal leaf order)."""
    if len(class_names) < _MANY_CLASSES:
        return [list(row) for row in confusion], list(class_names)
    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    likeness = shares + shares.T
    near = 2 - likeness[np.triu_indices(len(counts), 1)]
    order = leaves_list(linkage(near, "average", optimal_ordering=True))
    return counts[np.ix_(order, order)].tolist(), [class_names[index] for index in order]


def write_predictions(path: Path, scored: Mapping[str, tuple[Split, Tensor]], class_names: tuple[str, ...]) -> None:
    """Write `file,split,class,answer,confidence`, a row per image.

    Args:
        scored: images and their N × classes logits by the name of the split.

    Raises:
        DltoolError: the file cannot be written.
    """
    rows: list[tuple[str, ...]] = [("file", "split", "class", "answer", "confidence")]
    for name, (split, logits) in scored.items():
        confidence, answers = logits.double().softmax(1).max(1)
        for index, (sure, answer) in enumerate(zip(confidence.tolist(), answers.tolist(), strict=True)):
            truth = class_names[split.labels[index]]
            rows.append((split.name(index), name, truth, class_names[answer], f"{sure:.6g}"))
    write_atomically(path, to_csv(rows))


def most_confident_mistakes(logits: Tensor, labels: np.ndarray, count: int) -> list[tuple[int, int, float]]:
    """(sample, answer, confidence) of wrong answers, the most confident first."""
    confidence, answers = logits.double().softmax(1).max(1)
    wrong = [i for i in range(len(labels)) if int(answers[i]) != labels[i]]
    wrong.sort(key=lambda i: -float(confidence[i]))
    return [(i, int(answers[i]), float(confidence[i])) for i in wrong[:count]]


def mistake_tiles(logits: Tensor, split: Split, class_names: tuple[str, ...], count: int = _MISTAKES) -> list[Tile]:
    """The images of the most confident mistakes, labelled `answer (99 %), is truth`."""
    return [
        Tile(split.read(i, 256), f"{class_names[answer]} ({100 * p:.0f} %), is {class_names[split.labels[i]]}")
        for i, answer, p in most_confident_mistakes(logits, split.labels, count)
    ]


def preview_augmentation(split: Split, reader: PixelReader, kind: Augment, seed: int) -> np.ndarray:
    """A sheet of one training image as nine epochs would see it, the image itself first."""
    index = len(split) // 2
    pixels = reader.read(split, index)
    tiles = [Tile(reader.preprocessing.crop_pixels(pixels), "as evaluated")]
    for epoch in range(_VARIATIONS):
        random = numpy_generator(seed, "augment", epoch, index)
        tiles.append(Tile(augment_pixels(pixels, kind, reader.preprocessing, random), f"epoch {epoch + 1}"))
    return contact_sheet(tiles, columns=5, tile_size=200, title=f"--augment {kind} on {split.name(index)}")


def parameter_table(parameters: Iterable[BlockParameters]) -> list[str]:
    """Lines of trainable and all parameters by block, runs of frozen blocks on one line, the sum last."""
    rows: list[tuple[str, int, int]] = []
    frozen: list[BlockParameters] = []
    for block in [*parameters, None]:
        if block is not None and block.trainable == 0:
            frozen.append(block)
            continue
        if frozen:
            name = frozen[0].name if len(frozen) == 1 else f"{frozen[0].name} … {frozen[-1].name}"
            rows.append((f"{name} (frozen)", 0, sum(b.total for b in frozen)))
            frozen = []
        if block is not None:
            rows.append((block.name, block.trainable, block.total))
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    width = max(len(row[0]) for row in rows)
    head = f"{'block':{width}}  {'trainable':>12}  {'parameters':>12}"
    return [head, *(f"{name:{width}}  {trainable:12,}  {total:12,}" for name, trainable, total in rows)]


def class_table(metrics: dict[str, Any]) -> list[str]:
    """Lines of samples, precision, recall and F1 by class, and of what is taken for what most often.

    From 20 classes on only the ten with the least F1 are shown and the ten with the most, of those that occur.
    """
    per_class = metrics["per_class"]
    shown = list(per_class)
    many = len(shown) >= _MANY_CLASSES
    if many:
        shown = sorted((name for name in shown if per_class[name]["samples"]), key=lambda name: per_class[name]["f1"])
        shown = shown if len(shown) <= 20 else [*shown[:10], "…", *shown[-10:]]
    width = max(5, *(len(name) for name in shown))
    lines = [f"{'class':{width}}  {'samples':>7}  precision  recall     F1"]
    for name in shown:
        row = per_class.get(name)
        if row is None:
            lines.append(f"… {len(per_class)} classes in all; the ten with the least F1 above, with the most below")
            continue
        scores = (f"{100 * row[key]:{wide}.1f} %" for key, wide in (("precision", 7), ("recall", 4), ("f1", 4)))
        lines.append(f"{name:{width}}  {row['samples']:7}  {'  '.join(scores)}")
    pairs = most_confused(metrics["confusion"], list(per_class)) if many else []
    return lines + [f"{truth} was taken for {answer}: {count} of {total}" for truth, answer, count, total in pairs]


def most_confused(
    confusion: Sequence[Sequence[int]], class_names: Sequence[str], most: int = 10
) -> list[tuple[str, str, int, int]]:
    """(class, answer, how often, samples of the class) of the most frequent mistakes."""
    counts = np.array(confusion)
    totals = counts.sum(1)
    np.fill_diagonal(counts, 0)
    places = np.argsort(-counts, axis=None, kind="stable")[:most]
    pairs = [(int(place) // len(counts), int(place) % len(counts)) for place in places]
    return [(class_names[t], class_names[a], int(counts[t, a]), int(totals[t])) for t, a in pairs if counts[t, a]]


def describe_accuracy(metrics: dict[str, Any]) -> str:
    """`96.1 % of 153 (95 % interval 91.7 to 98.2), balanced …`, in one line; and what guessing would give."""
    low, high = metrics["accuracy_interval"]
    return (
        f"{100 * metrics['accuracy']:.1f} % of {metrics['samples']} "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f}), balanced {100 * metrics['balanced_accuracy']:.1f} %, "
        f"macro-F1 {100 * metrics['macro_f1']:.1f} %; "
        f"always the largest class {100 * metrics['majority_accuracy']:.1f} %"
    ) + (BELOW if metrics["accuracy"] < metrics["majority_accuracy"] else "")


def describe_held_out(whole: dict[str, Any]) -> list[str]:
    """Lines on figures that come from cross-validation (`held_out_metrics`)."""
    before, after = (f"{100 * whole[name]:.1f} %" for name in ("ece_uncalibrated", "ece"))
    what = "which no temperature would better"
    if whole["offsets"]:
        what = f"calibrated (temperature {whole['temperature']:.2f}, an offset by class) {after}"
    return [
        f"{whole['folds']}-fold cross-validation of train and val, then refitted on both; L2 penalty {whole['l2']:.2g}",
        f"calibration error (ECE) {before}, {what}",
    ]


def list_mistakes(logits: Tensor, split: Split, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The most confident mistakes as the JSON document has them."""
    return [
        {
            "input": split.name(i),
            "class": class_names[split.labels[i]],
            "answer": class_names[answer],
            "probability": probability,
        }
        for i, answer, probability in most_confident_mistakes(logits, split.labels, _MISTAKES)
    ]


def describe_epoch(event: EpochEnd) -> str:
    """A line about an epoch: its losses, and the accuracy on val."""
    return (
        f"{event.phase} epoch {event.epoch}/{event.epochs}: loss {event.train_loss:.4f}, "
        f"val loss {event.measured['val_loss']:.4f}, "
        f"val accuracy {100 * event.measured['val_accuracy']:.1f} %{' *' if event.best else ''}"
    )
