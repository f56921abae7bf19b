"""From what the user typed to a checked data set in splits."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dltool.data.builtin import BUILTIN, is_builtin, load_builtin
from dltool.data.check import Checked, check_files, count_by_class, describe_balance, find_duplicates
from dltool.data.folders import Findings, read_folder, read_unlabelled
from dltool.data.settings import DataSettings, OnBad
from dltool.data.splits import Dataset, apply_splits_csv, join_splits, split_off
from dltool.data.store import ContentStore
from dltool.errors import DataError, did_you_mean

_DEFAULT_VAL = 0.2
_MOST_VAL = 5000


@dataclass(frozen=True)
class DataReport:
    """The data set with what the check found; `facts` is for the JSON document."""

    dataset: Dataset
    notes: tuple[str, ...]
    unreadable: tuple[str, ...]
    facts: dict[str, Any] = field(repr=False)


def load_data(
    settings: DataSettings, store: ContentStore, read: Callable[[Path], np.ndarray], workers: int
) -> Generator[Checked, None, DataReport]:
    """Yield the check's progress and return the DataReport; every split has been decoded once.

    Raises:
        DataError: no such data, or it cannot be trained on; the message says why.
    """
    findings = Findings()
    if is_builtin(settings.source):
        dataset = load_builtin(settings.source, settings.root, settings.download)
    else:
        if not Path(settings.source).exists():
            raise DataError(f"{settings.source}: no such folder{did_you_mean(settings.source, BUILTIN)}")
        if Path(settings.source).is_file():
            raise DataError(f"{settings.source}: a file, but a folder of pictures is needed")
        if settings.labelled:
            listed = read_folder(Path(settings.source), findings, settings.complete)
        else:
            listed = read_unlabelled(Path(settings.source), findings)
        dataset = yield from check_files(listed, findings, store, read, settings.on_bad is OnBad.SKIP, workers)
    for name, share in (("val", settings.val), ("test", settings.test)):
        if share and name in dataset.splits and settings.splits_file is None:
            findings.notes.append(f"--{name} takes its share off train, so the {name} that is there is not used")
    dataset = limit_samples(divide(dataset, settings), settings.limit)
    notes = findings.notes
    if settings.labelled:
        notes = [*notes, *find_duplicates(dataset, None if dataset.in_memory else store), *describe_balance(dataset)]
    facts = {
        "name": dataset.name,
        "classes": dataset.class_names,
        "counts": count_by_class(dataset),
        "notes": notes,
        "unreadable": findings.unreadable,
    }
    return DataReport(dataset, tuple(notes), tuple(findings.unreadable), facts)


def divide(dataset: Dataset, settings: DataSettings) -> Dataset:
    """Complete the splits: shares that are asked for, or a missing val, come off train.

    Raises:
        DataError: too few images to have any for validation.
    """
    splits = dict(dataset.splits)
    if settings.splits_file is not None:
        splits = apply_splits_csv(join_splits(list(splits.values())), settings.splits_file)
        if "val" not in splits and settings.complete:
            raise DataError(f"{settings.splits_file}: none of these pictures is in its val")
        return replace(dataset, splits=splits)
    shares = {}
    if settings.test:
        shares["test"] = settings.test
        splits.pop("test", None)
    if settings.val or (settings.val is None and "val" not in splits and settings.complete):
        # More than a few thousand images measure nothing better, and are missed in training.
        shares["val"] = settings.val or min(_DEFAULT_VAL, _MOST_VAL / len(splits["train"]))
        splits.pop("val", None)
    if shares:
        splits = {**splits, **split_off(splits["train"], shares, settings.seed)}
    if "val" not in splits and settings.complete:
        way = "give --val a share above 0" if settings.val == 0 else "some class needs at least 2 different ones"
        raise DataError(f"{dataset.name}: no pictures for validation; {way}")
    return replace(dataset, splits={name: splits[name] for name in ("train", "val", "test") if name in splits})


def limit_samples(dataset: Dataset, limit: int) -> Dataset:
    """Keep `limit` samples of each split, evenly over the classes; 0 keeps all."""
    if not limit:
        return dataset
    splits = {}
    for name, split in dataset.splits.items():
        rank = np.empty(len(split), int)
        for label in np.unique(split.labels):
            members = np.flatnonzero(split.labels == label)
            rank[members] = np.arange(len(members))
        splits[name] = split.take(np.sort(np.lexsort((split.labels, rank))[:limit]))
    return replace(dataset, splits=splits)
