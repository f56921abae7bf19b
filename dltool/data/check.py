"""The data check before the first step: what cannot be read, what stands twice, what is rare."""

from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dltool.data.findings import Finding, Findings
from dltool.data.settings import OnBad
from dltool.data.splits import Dataset, FileSplit, Split, content_hash, with_hashes
from dltool.data.store import ContentStore
from dltool.errors import DataError, DeviceError, DltoolError
from dltool.files import check_regular
from dltool.images.partial import allow_partial
from dltool.images.stream import read_ahead

_SIDE = 16
_NEAR_BITS = 10
_LARGEST_COMPARED = 20_000
_IMBALANCE = 5.0


@dataclass(frozen=True)
class Checked:
    """One file has been looked at: `done` of `total`."""

    done: int
    total: int


def difference_hash(pixels: np.ndarray) -> np.ndarray:
    """Return the 256-bit difference hash of H × W × 3 uint8 pixels as 32 bytes.

    Bit by bit it says whether brightness rises to the right in a 16 × 17 reduction, so that scaling, recompression and
    brightness hardly change it (N. Krawetz, "Kind of Like That", 2013).
    """
    small = Image.fromarray(pixels).convert("L").resize((_SIDE + 1, _SIDE), Image.Resampling.BILINEAR)
    grey = np.asarray(small).astype(np.int16)
    return np.packbits(grey[:, 1:] > grey[:, :-1])


def check_files(
    dataset: Dataset,
    findings: Findings,
    store: ContentStore | None,
    read: Callable[[Path], np.ndarray],
    on_bad: OnBad,
    workers: int,
    labelled: bool = True,
    describe: Callable[[np.ndarray], np.ndarray] = difference_hash,
) -> Generator[Checked, None, Dataset]:
    """Hash every file, decode those whose content is not in `store` yet, and return the data set without bad ones.

    Args:
        store: fingerprints, as `describe` makes them, of images known to be readable; None makes none.
        read: decodes one file, H × W × 3 uint8.
        on_bad: what is done about unreadable files: those that are left out, and those of which a part is used, are
            listed in `findings`.
        labelled: whether every class needs images.
        describe: makes a fingerprint of H × W × 3 uint8 pixels.

    Raises:
        DataError: a file is unreadable and none may be, all of a class's are, or none is left.
    """
    total = sum(len(split) for split in dataset.splits.values())
    splits: dict[str, Split] = {}
    done = 0
    for name, split in dataset.splits.items():
        assert isinstance(split, FileSplit)
        hashes: list[str] = []
        fresh: dict[str, torch.Tensor] = {}
        try:
            look_at = partial(_look_at, store=store, read=read, on_bad=on_bad, describe=describe)
            for path, seen in read_ahead(split.paths, look_at, workers):
                done += 1
                yield Checked(done, total)
                if isinstance(seen, DeviceError):
                    raise seen
                if isinstance(seen, DltoolError):
                    if on_bad is OnBad.FAIL:
                        raise DataError(f"{seen}; remove it, or give --on-bad skip")
                    findings.unreadable.append(str(seen))
                    findings.files.append(Finding("unreadable", str(path), said=str(seen)))
                    hashes.append("")
                    continue
                hashes.append(seen.content)
                if seen.fingerprint is not None:
                    fresh.setdefault(seen.content, torch.from_numpy(seen.fingerprint))
                if seen.damage:
                    findings.notes.append(f"{seen.damage}; what could be decoded of it is used")
                    findings.files.append(Finding("partial", str(path), said=seen.damage))
        finally:  # whoever stops here will not want to decode them again
            if store is not None and fresh:
                store.add(list(fresh), torch.stack(list(fresh.values())))
        splits[name] = with_hashes(split, hashes).take([index for index, h in enumerate(hashes) if h])
    return _without_empty(replace(dataset, splits=splits), dataset, findings, labelled)


@dataclass(frozen=True)
class _Seen:
    """A file's content and, of one that was decoded now and is whole, its fingerprint; what is wrong with others."""

    content: str
    fingerprint: np.ndarray | None = None
    damage: str = ""


def _look_at(
    path: Path,
    store: ContentStore | None,
    read: Callable[[Path], np.ndarray],
    on_bad: OnBad,
    describe: Callable[[np.ndarray], np.ndarray],
) -> _Seen:
    try:
        check_regular(path)
        name = content_hash(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    if store is not None and name in store:
        return _Seen(name)
    try:
        pixels = read(path)
    except DataError as error:
        if on_bad is not OnBad.PARTIAL:
            raise
        allow_partial(path)
        read(path)
        return _Seen(name, damage=str(error))  # no fingerprint: they are kept of images that are known to be whole
    return _Seen(name, None if store is None else describe(pixels))


def _without_empty(checked: Dataset, listed: Dataset, findings: Findings, labelled: bool) -> Dataset:
    bad = len(findings.unreadable)
    needed = ["train"] if "train" in checked.splits else list(checked.splits)
    if not any(len(checked.splits[name]) for name in needed):
        raise DataError(f"{listed.name}: none of its pictures can be read; the first: {findings.unreadable[0]}")
    for index, count in enumerate(checked.counts("train") if labelled and "train" in checked.splits else ()):
        if count == 0:
            raise DataError(
                f"class {checked.class_names[index]}: none of its training pictures can be read ({bad} bad files)"
            )
    return replace(checked, splits={name: split for name, split in checked.splits.items() if len(split)})


def find_duplicates(dataset: Dataset, findings: Findings, store: ContentStore | None = None) -> None:
    """Find equal images, in two splits or two classes too, and (with the store of fingerprints) nearly equal ones."""
    findings.notes += _exact_duplicates(dataset, findings.files)
    names = list(dataset.splits)
    sizes = [len(split) for split in dataset.splits.values()]
    if store is not None and max(sizes) <= _LARGEST_COMPARED:
        for index, first in enumerate(names):
            for second in names[index + 1 :]:
                findings.notes += _near_duplicates(dataset, first, second, store, findings.files)


def _exact_duplicates(dataset: Dataset, files: list[Finding]) -> list[str]:
    homes: dict[str, list[tuple[str, int]]] = {}
    for name, split in dataset.splits.items():
        for index, h in enumerate(split.hashes):
            homes.setdefault(h, []).append((name, index))
    across = [places for places in homes.values() if len({name for name, _ in places}) > 1]
    contradicting = [
        places for places in homes.values() if len({dataset.splits[name].labels[index] for name, index in places}) > 1
    ]
    for places in homes.values():
        first, *others = [
            (dataset.splits[name].name(index), dataset.splits[name].labels[index]) for name, index in places
        ]
        for file, label in others:
            kind = "duplicate" if label == first[1] else "contradicting"
            said = "" if label == first[1] else f"{dataset.class_names[label]} and {dataset.class_names[first[1]]}"
            files.append(Finding(kind, file, first[0], said))
    notes = []
    if across:
        notes.append(f"{len(across)} pictures stand in more than one split, such as {_places(dataset, across[0])}")
    if contradicting:
        example = _places(dataset, contradicting[0])
        notes.append(f"{len(contradicting)} pictures stand in more than one class, such as {example}")
    return notes


def _near_duplicates(dataset: Dataset, first: str, second: str, store: ContentStore, files: list[Finding]) -> list[str]:
    """Pairs across two splits whose fingerprints differ in at most 10 of 256 bits, equal files left out."""
    bits, known = [], []
    for name in (first, second):
        hashes = dataset.splits[name].hashes
        known.append([index for index, content in enumerate(hashes) if content in store])  # damaged ones are not
        if not known[-1]:
            return []
        packed = store.rows([hashes[index] for index in known[-1]]).numpy()
        bits.append(np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1)
    distances = (_SIDE * _SIDE - bits[0] @ bits[1].T) / 2
    pairs = [
        [(first, i), (second, j)]
        for i, j in ((known[0][row], known[1][column]) for row, column in np.argwhere(distances <= _NEAR_BITS))
        if dataset.splits[first].hashes[i] != dataset.splits[second].hashes[j]
    ]
    if not pairs:
        return []
    for (_, i), (_, j) in pairs:
        files.append(Finding("near duplicate", dataset.splits[second].name(j), dataset.splits[first].name(i)))
    return [f"{len(pairs)} nearly equal pairs across {first} and {second}, such as {_places(dataset, pairs[0])}"]


def _places(dataset: Dataset, places: list[tuple[str, int]]) -> str:
    return " and ".join(dataset.splits[name].name(index) for name, index in places[:2])


def describe_balance(dataset: Dataset) -> list[str]:
    """A note if the largest class is at least five times the smallest."""
    if "train" not in dataset.splits:
        return []
    counts = dataset.counts("train")
    most, least = int(counts.argmax()), int(counts.argmin())
    if counts[most] < _IMBALANCE * counts[least]:
        return []
    names = dataset.class_names
    return [
        f"imbalance: {counts[most]} of {names[most]} but {counts[least]} of {names[least]}; "
        "look at the balanced accuracy, consider --balance weights"
    ]


def count_by_class(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Samples by split and class."""
    return {
        name: {dataset.class_names[label]: count for label, count in sorted(Counter(split.labels.tolist()).items())}
        for name, split in dataset.splits.items()
    }
