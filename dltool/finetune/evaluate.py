"""Measuring models on labelled data: one, or all checkpoints of a run and their average."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dltool.data.check import Checked
from dltool.data.load import DataReport, DataSettings, load_data
from dltool.data.pixels import PixelReader
from dltool.data.splits import Dataset, Split
from dltool.data.store import ContentStore
from dltool.errors import DataError, ModelError, SettingsError
from dltool.finetune.classifier_file import TrainedClassifier, load_classifier
from dltool.finetune.features import Extracted
from dltool.finetune.metrics import classification_metrics
from dltool.finetune.score import Scorer


@dataclass(frozen=True)
class Evaluation:
    """A model's figures on a split whose labels are indices into the model's classes."""

    name: str
    metrics: dict[str, Any]
    logits: Tensor
    split: Split
    class_names: tuple[str, ...]


def evaluation_data(
    data: DataSettings,
    which: str | None,
    class_names: tuple[str, ...],
    reader: PixelReader,
    cache: Path | None,
    workers: int,
) -> Iterator[Checked | DataReport | tuple[str, Split]]:
    """Check the data and yield at last the split's name and the split, its labels in terms of the model's classes.

    Args:
        which: `train`, `val`, `test` or `all`; None takes test, else val, else all.

    Raises:
        DataError: a class that the model does not know, or no such split.
    """
    store = ContentStore(cache / "fingerprints" if cache else None)
    report = None
    for event in load_data(data, store, reader.read_file, workers):
        yield event
        report = event if isinstance(event, DataReport) else report
    assert report is not None
    dataset = report.dataset
    unknown = [name for name in dataset.class_names if name not in class_names]
    if unknown:
        known = ", ".join(class_names[:6]) + (", …" if len(class_names) > 6 else "")
        raise DataError(f"{data.source}: class {unknown[0]} is not one of the model's ({known})")
    mapping = np.array([class_names.index(name) for name in dataset.class_names])
    name = which or next((name for name in ("test", "val") if name in dataset.splits), "all")
    yield name, _relabelled(_choose(dataset, name), mapping)


def _choose(dataset: Dataset, which: str) -> Split:
    if which == "all":
        parts = list(dataset.splits.values())
        first = parts[0]
        if dataset.in_memory:
            return replace(
                first,
                images=np.concatenate([p.images for p in parts]),
                labels=np.concatenate([p.labels for p in parts]),
                numbers=np.empty(0, int),
            )
        return replace(
            first,
            paths=sum((p.paths for p in parts), ()),
            labels=np.concatenate([p.labels for p in parts]),
            hashes=sum((p.hashes for p in parts), ()),
        )
    if which not in dataset.splits:
        raise SettingsError(f"--split {which}: the data has {', '.join(dataset.splits)}")
    return dataset.splits[which]


def _relabelled(split: Split, mapping: np.ndarray) -> Split:
    return replace(split, labels=mapping[split.labels])


def evaluate_split(scorer: Scorer, split: Split, name: str, tta: bool) -> Iterator[Extracted | Evaluation]:
    """Yield progress and at the end the Evaluation."""
    for event in scorer.score_split(split, tta):
        if isinstance(event, Tensor):
            names = scorer.classifier.class_names
            metrics = classification_metrics(event, torch.from_numpy(split.labels), names)
            yield Evaluation(name, metrics, event, split, names)
        else:
            yield event


def load_checkpoints(run: Path) -> Iterator[tuple[str, TrainedClassifier]]:
    """Yield every epoch's model of a run by name, and at the end `average`, whose tensors are their mean.

    Averaging weights of epochs is Polyak's method; batch norms' statistics are averaged with them.

    Raises:
        ModelError: the run kept no checkpoints.
    """
    files = sorted((run / "checkpoints").glob("*.safetensors"))
    if not files:
        raise ModelError(f"{run}: no checkpoints; train with --keep-checkpoints")
    total: dict[str, Tensor] = {}
    last = None
    for file in files:
        last, _ = load_classifier(file)
        for name, tensor in last.module.state_dict().items():
            value = tensor.double() / len(files)
            total[name] = total[name] + value if name in total else value
        yield file.stem, last
    assert last is not None
    average, _ = load_classifier(files[-1])
    state = average.module.state_dict()
    average.module.load_state_dict({name: tensor.to(state[name].dtype) for name, tensor in total.items()})
    yield "average", average
