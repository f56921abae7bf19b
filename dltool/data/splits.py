"""Labelled samples in splits, and how one split is cut in two: stratified, by content."""

import csv
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

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
        groups: of every file the name of what it belongs to (a patient, a film), all of which stays in one split; empty
            for a file in no group, or where there are none at all.
    """

    paths: tuple[Path, ...]
    labels: np.ndarray
    hashes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

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
        hashes, groups = (tuple(own[i] for i in indices) if own else () for own in (self.hashes, self.groups))
        labels = self.labels[np.asarray(indices, dtype=int)]
        return FileSplit(tuple(self.paths[i] for i in indices), labels, hashes, groups)


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
    groups: ClassVar[tuple[str, ...]] = ()

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


def is_class_name(name: object) -> bool:
    """Whether it can be a class's name: one of a folder, or of a folder in a folder (`animals/cat`)."""
    if not isinstance(name, str) or "\0" in name:
        return False
    return all(part not in ("", ".", "..") and Path(part).name == part for part in name.split("/"))


def units_of(split: Split) -> np.ndarray:
    """N numbers, equal for samples that must stay on one side: of one content, or of one group."""
    _, contents = np.unique(np.array(split.hashes), return_inverse=True)
    if not any(split.groups):
        return contents
    own = [group or f"\0{content}" for group, content in zip(split.groups, contents, strict=True)]
    names, groups = np.unique(np.array(own), return_inverse=True)
    count = contents.max() + 1
    links = coo_matrix((np.ones(len(split)), (contents, count + groups)), shape=(count + len(names),) * 2)
    return connected_components(links, directed=False)[1][contents]


def split_off(split: Split, shares: dict[str, float], seed: int, rest: str = "train") -> dict[str, Split]:
    """Cut stratified shares off a split; what remains is called `rest`.

    Within each class the samples are ordered by a hash of their content and the seed and the shares are cut off that
    order, so that neither file names nor folders matter and what `units_of` keeps together always lands on the same
    side, even if it stands in two classes. Every class keeps at least one sample in `rest`. A unit that would lead
    further beyond a share than it falls short without is passed over, unless there is no smaller one.
    """
    rank = {h: hashlib.blake2b(f"{seed}:{h}".encode(), digest_size=8).digest() for h in set(split.hashes)}
    units, labels = units_of(split), split.labels
    sizes = coo_matrix((np.ones(len(split), int), (units, labels))).toarray()
    first: dict[int, bytes] = {}
    for unit, content in zip(units.tolist(), split.hashes, strict=True):
        first[unit] = min(first.get(unit, rank[content]), rank[content])
    left = (sizes > 0).sum(0)  # units of each class that are in no share yet
    homes = np.full(len(sizes), rest, object)
    for label in np.unique(labels):
        order = sorted(np.flatnonzero(sizes[:, label]).tolist(), key=first.__getitem__)
        by_size = sorted(order, key=lambda unit: sizes[unit, label])
        for name, share in shares.items():
            wanted = round(share * sizes[:, label].sum()) or int(share > 0)
            taken = sizes[homes == name, label].sum()
            for number, unit in enumerate([*order, *by_size]):
                if taken >= wanted or (taken and number >= len(order)):
                    break
                fits = sizes[unit, label] <= 2 * (wanted - taken) or number >= len(order)
                if fits and homes[unit] == rest and (left[sizes[unit] > 0] > 1).all():
                    homes[unit] = name
                    left -= sizes[unit] > 0
                    taken += sizes[unit, label]
    own = homes[units]
    return {name: split.take(np.flatnonzero(own == name)) for name in (rest, *shares) if (own == name).any()}


def join_splits(parts: Sequence[Split]) -> Split:
    """All samples of several splits of one data set as one split."""
    labels = np.concatenate([part.labels for part in parts])
    if isinstance(parts[0], ArraySplit):
        images = np.concatenate([part.images for part in parts])
        return ArraySplit(images, labels, parts[0].source, np.concatenate([part.numbers for part in parts]))
    texts = [tuple(chain.from_iterable(getattr(p, name) for p in parts)) for name in ("paths", "hashes", "groups")]
    return FileSplit(texts[0], labels, *texts[1:])


def read_splits_csv(path: Path) -> dict[str, str]:
    """The split of every content hash in a `splits.csv`; train, if it stands in several.

    Raises:
        DataError: the file cannot be read, or names a split that is none.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            lines = [(rows.line_num, row) for row in rows]
            columns = set(rows.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a splits file of dltool") from error
    if not {"content", "split"} <= columns:
        raise DataError(f"{path}: not a splits file of dltool")
    length = len(content_hash(b""))
    for line, row in lines:
        # What is missing of a row is None, and what is too much has None for its column.
        whole = None not in row and None not in row.values() and len(row["content"]) == length
        if not whole and row.get("split") in (None, *SPLITS):
            raise DataError(f"{path}: is damaged in line {line}; delete it to start anew")
    # What was trained on is no test, wherever else it stands.
    homes = {row["content"]: row["split"] for _, row in sorted(lines, key=lambda line: line[1]["split"] == "train")}
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
