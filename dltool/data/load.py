"""From what the user typed to a checked data set in splits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dltool.data.builtin import BUILTIN, is_builtin, load_builtin
from dltool.data.check import Checked, check_files, count_by_class, describe_balance, find_duplicates
from dltool.data.folders import Findings, read_folder, read_unlabelled
from dltool.data.splits import Dataset, apply_splits_csv, check_fractions, join_splits, split_off
from dltool.data.store import ContentStore
from dltool.errors import DataError, did_you_mean

_DEFAULT_VAL = 0.2
_MOST_VAL = 5000


@dataclass(frozen=True)
class DataSettings:
    """Which data, and how it is divided.

    Attributes:
        source: a folder or a name of `BUILTIN`.
        val, test: shares to split off train; None takes the split that is there, and for a missing val 0.2 (at most
            5000 samples).
        splits_file: a `splits.csv` to divide by instead.
        on_bad: `skip` or `fail` for files that cannot be read.
        root, download: where sets by name are kept, and whether to fetch an absent one.
        limit: keep only this many samples of each split, evenly over the classes; 0 keeps all.
        seed: of the division.
        complete: whether a validation split is needed; for measuring a model on new images it is not.
        labelled: whether classes matter; if not, a folder of images is enough, and nothing is said about classes.
    """

    source: str
    val: float | None = None
    test: float | None = None
    splits_file: Path | None = None
    on_bad: str = "skip"
    root: Path = Path("data")
    download: bool = False
    limit: int = 0
    seed: int = 0
    complete: bool = True
    labelled: bool = True


@dataclass(frozen=True)
class DataReport:
    """The data set with what the check found; `facts` is for the JSON document."""

    dataset: Dataset
    notes: tuple[str, ...]
    unreadable: tuple[str, ...]
    facts: dict[str, Any] = field(repr=False)


def load_data(
    settings: DataSettings, store: ContentStore, read: Callable[[Path], np.ndarray], workers: int
) -> Iterator[Checked | DataReport]:
    """Yield the check's progress and at the end the DataReport; every split has been decoded once.

    Raises:
        DataError: no such data, or it cannot be trained on; the message says why.
        SettingsError: shares that leave nothing.
    """
    check_fractions(settings.val or 0, settings.test or 0)
    findings = Findings()
    dataset: Dataset | None = None
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
        for event in check_files(listed, findings, store, read, settings.on_bad == "skip", workers):
            if isinstance(event, Dataset):
                dataset = event
            else:
                yield event
    assert dataset is not None
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
    yield DataReport(dataset, tuple(notes), tuple(findings.unreadable), facts)


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
