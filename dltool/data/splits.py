"""Labelled samples in splits, and how one split is cut in two: stratified, by content."""

import csv
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from dltool.errors import DataError
from dltool.files import write_atomically
from dltool.images.read import read_image
from dltool.tables import to_csv

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class FileSplit:
    """Image files with their classes.

    Attributes:
        paths: one per sample.
        labels: N int64, indices into the data set's class names.
        hashes: content hash of every file; filled in by the data check, empty before.
    """

    paths: tuple[Path, ...]
    labels: np.ndarray
    hashes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """What a report calls the sample: its path."""
        return str(self.paths[index])

    def read(self, index: int, shortest_side: int | None = None) -> np.ndarray:
        """Decode one image, H × W × 3 uint8; see `read_image` for `shortest_side`."""
        return read_image(self.paths[index], shortest_side=shortest_side).pixels

    def take(self, indices: Sequence[int] | np.ndarray) -> "FileSplit":
        """The samples at `indices`, in that order."""
        hashes = tuple(self.hashes[i] for i in indices) if self.hashes else ()
        return FileSplit(tuple(self.paths[i] for i in indices), self.labels[np.asarray(indices, dtype=int)], hashes)


@dataclass(frozen=True)
class ArraySplit:
    """Small images in memory.

    Attributes:
        images: N × H × W (grey) or N × H × W × 3 uint8.
        labels: N int64.
        source: what samples are called after, such as `mnist/train`.
        numbers: N, each sample's number in its source.
    """

    images: np.ndarray
    labels: np.ndarray
    source: str
    numbers: np.ndarray = field(default_factory=lambda: np.empty(0, int))

    def __post_init__(self) -> None:
        if len(self.numbers) != len(self.labels):
            object.__setattr__(self, "numbers", np.arange(len(self.labels)))

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def hashes(self) -> tuple[str, ...]:
        """Content hash of every image."""
        return tuple(content_hash(image.tobytes()) for image in self.images)

    def name(self, index: int) -> str:
        """What a report calls the sample: source and number."""
        return f"{self.source}/{self.numbers[index]}"

    def read(self, index: int, shortest_side: int | None = None) -> np.ndarray:
        """One image, H × W × 3 uint8; `shortest_side` is for files only."""
        image = self.images[index]
        return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)

    def take(self, indices: Sequence[int] | np.ndarray) -> "ArraySplit":
        """The samples at `indices`, in that order."""
        index = np.asarray(indices, dtype=int)
        return ArraySplit(self.images[index], self.labels[index], self.source, self.numbers[index])


Split = FileSplit | ArraySplit


@dataclass(frozen=True)
class Dataset:
    """Classes in index order and the splits by name (`train`, `val`, `test`), of which `train` is never absent."""

    name: str
    class_names: tuple[str, ...]
    splits: dict[str, Split]

    @property
    def in_memory(self) -> bool:
        """Whether the images are arrays rather than files."""
        return isinstance(next(iter(self.splits.values())), ArraySplit)

    def counts(self, split: str) -> np.ndarray:
        """Samples of each class in a split."""
        return np.bincount(self.splits[split].labels, minlength=len(self.class_names))


def content_hash(content: bytes) -> str:
    """Hash of 128 bits as hexadecimal text; equal contents and, for all practical purposes, only they share it."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def split_off(split: Split, shares: dict[str, float], seed: int, rest: str = "train") -> dict[str, Split]:
    """Cut stratified shares off a split; what remains is called `rest`.

    Within each class the samples are ordered by a hash of their content and the seed and the shares are cut off that
    order, so that neither file names nor folders matter and equal images always land on the same side, even if
    they stand in two classes. Every class keeps at least one sample in `rest`.
    """
    rank = {h: hashlib.blake2b(f"{seed}:{h}".encode(), digest_size=8).digest() for h in set(split.hashes)}
    home: dict[str, str] = {}
    for label in np.unique(split.labels):
        members = [split.hashes[i] for i in np.flatnonzero(split.labels == label)]
        order = sorted(set(members), key=rank.__getitem__)
        place = 0
        for name, share in shares.items():
            wanted = round(share * len(members)) or int(share > 0)
            taken = sum(members.count(h) for h in order if home.get(h) == name)
            while taken < wanted and place < len(order) - 1:
                if order[place] not in home:
                    home[order[place]] = name
                    taken += members.count(order[place])
                place += 1
    names = np.array([home.get(h, rest) for h in split.hashes])
    return {name: split.take(np.flatnonzero(names == name)) for name in (rest, *shares) if (names == name).any()}


def join_splits(parts: Sequence[Split]) -> Split:
    """All samples of several splits of one data set as one split."""
    labels = np.concatenate([part.labels for part in parts])
    if isinstance(parts[0], ArraySplit):
        images = np.concatenate([part.images for part in parts])
        return ArraySplit(images, labels, parts[0].source, np.concatenate([part.numbers for part in parts]))
    paths, hashes = (tuple(chain.from_iterable(getattr(part, name) for part in parts)) for name in ("paths", "hashes"))
    return FileSplit(paths, labels, hashes)


def read_splits_csv(path: Path) -> dict[str, str]:
    """The split of every content hash in a `splits.csv`.

    Raises:
        DataError: the file cannot be read, or names a split that is none.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            lines = [(rows.line_num, row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a splits file of dltool") from error
    if not {"content", "split"} <= set(rows.fieldnames or ()):
        raise DataError(f"{path}: not a splits file of dltool")
    length = len(content_hash(b""))
    for line, row in lines:
        # What is missing of a row is None, and what is too much has None for its column.
        whole = None not in row and None not in row.values() and len(row["content"]) == length
        if not whole and row.get("split") in (None, *SPLITS):
            raise DataError(f"{path}: is damaged in line {line}; delete it to start anew")
    homes = {row["content"]: row["split"] for _, row in lines}
    unknown = next((name for name in homes.values() if name not in SPLITS), None)
    if unknown is not None:
        raise DataError(f"{path}: {unknown!r} is no split; there are {', '.join(SPLITS)}")
    return homes


def apply_splits_csv(split: Split, path: Path) -> dict[str, Split]:
    """Divide a split as an earlier run's `splits.csv` did, by content; splits without a sample are left out.

    Raises:
        DataError: the file cannot be read, a sample is not in it, or none is left to train on.
    """
    homes = read_splits_csv(path)
    absent = next((i for i, h in enumerate(split.hashes) if h not in homes), None)
    if absent is not None:
        raise DataError(f"{split.name(absent)}: not in {path}")
    names = np.array([homes[h] for h in split.hashes])
    if "train" not in names:
        raise DataError(f"{path}: none of these pictures is in its train")
    return {name: split.take(np.flatnonzero(names == name)) for name in SPLITS if name in names}


def write_splits_csv(path: Path, dataset: Dataset) -> None:
    """Write which sample is in which split: columns `sample,class,split,content`."""
    rows = [["sample", "class", "split", "content"]]
    for name, split in dataset.splits.items():
        for index in range(len(split)):
            rows.append([split.name(index), dataset.class_names[split.labels[index]], name, split.hashes[index]])
    write_atomically(path, to_csv(rows))


def with_hashes(split: FileSplit, hashes: Iterable[str]) -> FileSplit:
    """The same samples with their content hashes."""
    return replace(split, hashes=tuple(hashes))
