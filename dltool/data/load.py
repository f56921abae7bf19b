"""From what the user typed to a checked data set in splits, for every command that reads one."""

import os
import re
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dltool.data.builtin import BUILTIN, is_builtin, load_builtin
from dltool.data.check import Checked, check_files, count_by_class, describe_balance, difference_hash, find_duplicates
from dltool.data.findings import Finding, Findings, count_findings
from dltool.data.folders import read_folder, read_unlabelled
from dltool.data.label_table import read_label_table
from dltool.data.limit import choose_evenly, hold_back, limit_samples
from dltool.data.settings import DataSettings
from dltool.data.splits import SPLITS, Dataset, FileSplit, Split, apply_splits_csv, join_splits, split_off, with_hashes
from dltool.data.store import ContentStore
from dltool.errors import DataError, SettingsError, did_you_mean
from dltool.images.depth import Depth, find_depth
from dltool.images.folder import natural_key

_MOST_VAL = 5000


_CLASSES_NAMED = 8


@dataclass(frozen=True)
class Listed:
    """The samples that shall be used, files not yet looked into, and what was found on the way.

    `divided` says that shares of train are split off already, `limited` that no more samples are listed than are used.
    """

    dataset: Dataset
    findings: Findings
    divided: bool = False
    limited: bool = True


@dataclass(frozen=True)
class DataReport:
    """The data set with what the check found; `findings` names every file, `facts` is for the JSON document.

    `depth` is how many bits 16-bit files use, where `with_depth` has looked.
    """

    dataset: Dataset
    notes: tuple[str, ...]
    unreadable: tuple[str, ...]
    facts: dict[str, Any] = field(repr=False)
    findings: tuple[Finding, ...] = field(default=(), repr=False)
    depth: Depth = field(default_factory=Depth)

    @property
    def line(self) -> str:
        """Which classes are in the splits, in words."""
        names = self.dataset.class_names
        counts = ", ".join(f"{len(split)} {name}" for name, split in self.dataset.splits.items())
        some = ", ".join(names[:_CLASSES_NAMED]) + (", …" if len(names) > _CLASSES_NAMED else "")
        return f"data: {len(names)} classes ({some}), {counts}"


def load_data(
    settings: DataSettings,
    store: ContentStore | None,
    read: Callable[[Path], np.ndarray],
    workers: int,
    exclude: Path | None = None,
) -> Generator[Checked, None, DataReport]:
    """Yield the check's progress and return the DataReport; every file has been decoded once.

    Args:
        store: fingerprints of images known to be readable, which are not decoded again; None keeps none.
        read: decodes one file, H × W × 3 uint8; it may keep what the caller needs later.
        workers: threads that decode.
        exclude: a folder whose images are not data: the output.

    Raises:
        DataError: no such data, or it cannot be trained on; the message says why.
        SettingsError: the data is the folder that is to be left out.
    """
    return (yield from check_data(list_data(settings, exclude), settings, store, read, workers))


def list_data(settings: DataSettings, exclude: Path | None = None) -> Listed:
    """Find the samples, at most `settings.limit` of each split; no file is decoded.

    Raises:
        DataError: no such data, or its folders make no sense.
        SettingsError: the data is the folder that is to be left out.
    """
    findings = Findings()
    dataset = _grouped(_find(settings, findings, exclude), settings, findings)
    grouped = any(split.groups for split in dataset.splits.values())
    if settings.joined:
        return Listed(_join(dataset, settings.limit), findings)
    if settings.complete and "train" not in dataset.splits:
        dataset = _join(dataset)
    shares = {} if settings.splits_file else _shares(dataset.splits, settings)
    for name in shares:
        if name in dataset.splits:
            findings.notes.append(f"--{name} takes its share off train, so the {name} that is there is not used")
    # What is divided by content, which has not been looked at yet, is limited when it is.
    if settings.splits_file or grouped or not settings.limit:
        return Listed(dataset, findings, limited=not settings.limit)
    limited = limit_samples(dataset, settings.limit)
    if not shares or len(dataset.splits["train"]) <= settings.limit:
        return Listed(limited, findings)
    others = {name: split for name, split in limited.splits.items() if name not in shares}
    divided = hold_back(dataset.splits["train"], shares, settings.limit)
    return Listed(replace(dataset, splits={**others, **divided}), findings, divided=True)


def _find(settings: DataSettings, findings: Findings, exclude: Path | None) -> Dataset:
    source = Path(settings.source)
    if exclude is not None and source.is_dir() and exclude.resolve() == source.resolve():
        raise SettingsError(f"-o {exclude}: is the input folder itself; choose another")
    if is_builtin(settings.source):
        return load_builtin(settings.source, settings.root, settings.download)
    if settings.is_table and settings.labelled:
        return read_label_table(source, settings.roles, findings, settings.complete)
    if not source.exists():
        raise DataError(f"{settings.source}: no such folder{did_you_mean(settings.source, BUILTIN)}")
    if source.is_file():
        raise DataError(f"{settings.source}: a file, but a folder of pictures is needed")
    if settings.labelled:
        return read_folder(source, findings, settings.complete, exclude)
    return read_unlabelled(source, findings, exclude)


def _grouped(dataset: Dataset, settings: DataSettings, findings: Findings) -> Dataset:
    """With the groups of `settings.group_by`, if that is given.

    Raises:
        DataError: it matches no path.
    """
    if settings.group_by is None or dataset.in_memory:
        return dataset
    source = Path(settings.source)
    root = source.parent if settings.is_table else source
    splits: dict[str, Split] = {}
    for name, split in dataset.splits.items():
        assert isinstance(split, FileSplit)
        paths = [os.path.relpath(path, root) for path in split.paths]
        found = [re.search(settings.group_by, Path(path).as_posix()) for path in paths]
        groups = tuple("" if match is None else next((g for g in match.groups() if g), match[0]) for match in found)
        splits[name] = replace(split, groups=groups)
    names = Counter(group for split in splits.values() for group in split.groups)
    if not any(names):
        raise DataError(f"--group-by {settings.group_by}: matches no path in {source}, such as {paths[0]}")
    alone = f"; {names['']} pictures do not match and are in no group" if names[""] else ""
    findings.notes.append(f"{source}: {len(names) - ('' in names)} groups of pictures, none is divided{alone}")
    return replace(dataset, splits=splits)


def _check_groups(dataset: Dataset) -> None:
    """Raise DataError where a group stands in two splits."""
    homes: dict[str, str] = {}
    for name, split in dataset.splits.items():
        for group in filter(None, split.groups):
            if homes.setdefault(group, name) != name:
                what = f"group {group!r} stands in {homes[group]} and in {name}"
                raise DataError(f"{dataset.name}: {what}; a group may not be divided: give --val and --test shares")


def _join(dataset: Dataset, limit: int = 0) -> Dataset:
    """All splits of files as one, called train, in natural order; of a set by name its own train."""
    if dataset.in_memory:
        return limit_samples(replace(dataset, splits={"train": dataset.splits["train"]}), limit)
    parts = list(dataset.splits.values())
    whole = join_splits(parts)
    assert isinstance(whole, FileSplit)
    whole = whole.take(choose_evenly(whole.labels, limit, np.repeat(np.arange(len(parts)), [len(p) for p in parts])))
    order = sorted(range(len(whole)), key=lambda index: natural_key(whole.paths[index]))
    return replace(dataset, splits={"train": whole.take(order)})


def check_data(
    listed: Listed,
    settings: DataSettings,
    store: ContentStore | None,
    read: Callable[[Path], np.ndarray],
    workers: int,
    digest: Callable[[Path], str] | None = None,
    describe: Callable[[np.ndarray], np.ndarray] = difference_hash,
) -> Generator[Checked, None, DataReport]:
    """The second half of `load_data`: decode what was listed, leave out what cannot be, and divide the rest.

    `digest` tells equal contents of files that have been read; None takes the hash of their bytes. `describe` makes the
    fingerprints of the store.
    """
    dataset, findings = listed.dataset, listed.findings
    if not dataset.in_memory:
        what = (dataset, findings, store, read, settings.on_bad, workers, settings.labelled)
        dataset = yield from check_files(*what, describe)
        if digest is not None:
            dataset = replace(dataset, splits={name: _hashed(split, digest) for name, split in dataset.splits.items()})
    if listed.divided:
        dataset = _with_val(_keep_apart(dataset), settings, findings)
    else:
        dataset = divide(dataset, settings, findings)
    if not listed.limited:
        dataset = limit_samples(dataset, settings.limit)
    _check_groups(dataset)
    if settings.labelled:
        find_duplicates(dataset, findings, None if dataset.in_memory else store)
        findings.notes += describe_balance(dataset)
    notes = findings.notes
    facts = {
        "name": dataset.name,
        "classes": dataset.class_names,
        "counts": count_by_class(dataset),
        "notes": notes,
        "unreadable": findings.unreadable,
        "findings": count_findings(findings.files),
    }
    return DataReport(dataset, tuple(notes), tuple(findings.unreadable), facts, tuple(findings.files))


def with_depth(report: DataReport) -> DataReport:
    """The report with the bits that the set's 16-bit files use, and a note on them where they are fewer."""
    if report.dataset.in_memory:
        return report
    depth = find_depth([path for split in report.dataset.splits.values() for path in split.paths])
    if not depth.bits:
        return report
    note = (
        f"{depth.files} pictures of 16 bits use {depth.bits} of them: {depth.white} is white in all, and wherever the "
        "model is used"
    )
    facts = {**report.facts, "notes": [*report.notes, note], "white": depth.white}
    return replace(report, notes=(*report.notes, note), facts=facts, depth=depth)


def _hashed(split: Split, digest: Callable[[Path], str]) -> Split:
    assert isinstance(split, FileSplit)
    return with_hashes(split, map(digest, split.paths))


def divide(dataset: Dataset, settings: DataSettings, findings: Findings | None = None) -> Dataset:
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
    shares = _shares(splits, settings)
    if shares:
        train = splits["train"]
        train = train if settings.labelled else replace(train, labels=np.zeros(len(train), int))
        others = {name: split for name, split in splits.items() if name not in shares}
        splits = {**others, **split_off(train, shares, settings.seed)}
    return _with_val(replace(dataset, splits=splits), settings, findings)


def _shares(splits: Mapping[str, Split], settings: DataSettings) -> dict[str, float]:
    """What comes off train: the shares that are asked for, and one for a val that is needed and not there."""
    shares = {}
    if settings.test:
        shares["test"] = settings.test
    if settings.val or (settings.val is None and "val" not in splits and settings.complete):
        # More than a few thousand images measure nothing better, and are missed in training.
        shares["val"] = settings.val or min(settings.default_val, _MOST_VAL / len(splits["train"]))
    return shares


def _keep_apart(dataset: Dataset) -> Dataset:
    """Leave out of test and val what train holds too, and of val what test does."""
    seen: set[str] = set()
    splits = {}
    for name in [name for name in ("train", "test", "val") if name in dataset.splits]:
        split = dataset.splits[name]
        splits[name] = split.take([index for index, content in enumerate(split.hashes) if content not in seen])
        seen.update(split.hashes)
    return replace(dataset, splits={name: split for name, split in splits.items() if len(split)})


def _with_val(dataset: Dataset, settings: DataSettings, findings: Findings | None) -> Dataset:
    """The splits in their order; where val is needed and none could be had, labelled data cannot be used."""
    splits = dict(dataset.splits)
    if "val" not in splits and settings.complete:
        if settings.labelled:
            way = "give --val a share above 0" if settings.val == 0 else "some class needs at least 2 different ones"
            raise DataError(f"{dataset.name}: no pictures for validation; {way}")
        splits["val"] = splits["train"]
        if findings is not None:
            findings.notes.append("no pictures are held out: what is measured are training pictures")
    return replace(dataset, splits={name: splits[name] for name in SPLITS if name in splits})
