"""Measuring models on labelled data: one, or all checkpoints of a run and their average."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dltool.data.check import Checked
from dltool.data.features import Extracted
from dltool.data.limit import limit_samples
from dltool.data.load import DataReport, load_data
from dltool.data.pixels import PixelReader
from dltool.data.settings import DataSettings
from dltool.data.splits import SPLITS, Dataset, Split, join_splits
from dltool.data.store import ContentStore
from dltool.errors import DataError, ModelError, SettingsError
from dltool.finetune.classifier_file import TrainedClassifier, load_classifier
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


@dataclass(frozen=True)
class Chosen:
    """The images that are scored: `trained` of them were trained on, and `new` of the data are in no split."""

    name: str
    split: Split
    trained: int
    new: int


def evaluation_data(
    data: DataSettings,
    which: str | None,
    class_names: tuple[str, ...],
    reader: PixelReader,
    cache: Path | None,
    workers: int,
    homes: Mapping[str, str] | None = None,
    trained: Container[str] = (),
) -> Iterator[Checked | DataReport | Chosen]:
    """Check the data and yield at last what is Chosen, its labels in terms of the model's classes.

    Args:
        which: `train`, `val`, `test`, `new` or `all`; None takes test, else val, else new, else all.
        homes: the split of every content that the run knew. If it knew any of these images, they are divided so;
            what it did not know stays in its own `val` or `test`, and else becomes the split `new`.
        trained: contents that the model was trained on.

    Raises:
        DataError: a class that the model does not know.
        SettingsError: no such split.
    """
    store = ContentStore(cache / "fingerprints" if cache else None)
    report = yield from load_data(replace(data, limit=0), store, reader.read_file, workers)
    dataset, new = _as_known(report.dataset, homes or {})
    dataset = limit_samples(dataset, data.limit)
    yield replace(report, dataset=dataset)
    unknown = [name for name in dataset.class_names if name not in class_names]
    if unknown:
        known = ", ".join(class_names[:6]) + (", …" if len(class_names) > 6 else "")
        raise DataError(f"{data.source}: class {unknown[0]} is not one of the model's ({known})")
    mapping = np.array([class_names.index(name) for name in dataset.class_names])
    name = which or next((name for name in ("test", "val", "new") if name in dataset.splits), "all")
    split = _relabelled(_choose(dataset, name), mapping)
    yield Chosen(name, split, sum(content in trained for content in split.hashes), new)


def _as_known(dataset: Dataset, homes: Mapping[str, str]) -> tuple[Dataset, int]:
    """Divide by content where any of it is known; also return how many images are not."""
    whole = join_splits(list(dataset.splits.values()))
    if not any(content in homes for content in whole.hashes):
        return dataset, 0
    own = [name for name, split in dataset.splits.items() for _ in range(len(split))]
    names = np.array(
        [
            homes.get(content, "new" if name == "train" else name)
            for content, name in zip(whole.hashes, own, strict=True)
        ]
    )
    splits = {name: whole.take(np.flatnonzero(names == name)) for name in (*SPLITS, "new") if name in names}
    return replace(dataset, splits=splits), sum(content not in homes for content in whole.hashes)


def _choose(dataset: Dataset, which: str) -> Split:
    if which == "all":
        return join_splits(list(dataset.splits.values()))
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
