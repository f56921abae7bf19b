"""What shall be grouped: a folder of images, a data set by name, a table, or toy points."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from dltool.cluster.table import TABLE_SUFFIXES, TableFile, check_finite, read_csv
from dltool.data.builtin import BUILTIN, load_builtin
from dltool.data.check import Checked, check_files
from dltool.data.folders import SPLIT_NAMES, Findings
from dltool.data.splits import ArraySplit, Dataset, FileSplit, Split, join_splits
from dltool.data.store import ContentStore
from dltool.errors import DataError, did_you_mean
from dltool.images.folder import find_images, natural_key
from dltool.training.seeds import numpy_generator

TOYS = ("circles", "moons", "blobs")
_TOY_POINTS, _TOY_NOISE = 500, 0.1
_BLOBS = ((-0.5, -0.3), (0.5, -0.3), (0.0, 0.6))


class Kind(StrEnum):
    """What the items are: files of images, small images of one size in memory, rows of a table, toy points."""

    FILES = "pictures"
    ARRAYS = "small pictures"
    TABLE = "rows"
    POINTS = "points"


@dataclass(frozen=True)
class Source:
    """Items to be grouped.

    Attributes:
        split: the images; None for numbers.
        rows: N × D numbers; None for images.
        root: the folder of files, which names are relative to.
        labels: N int64, the classes that are known, for scoring only; None where there are none.
    """

    name: str
    kind: Kind
    split: Split | None = None
    rows: np.ndarray | TableFile | None = None
    root: Path | None = None
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.split if self.split is not None else self.rows)

    def item(self, index: int) -> str:
        """What a report calls an item: its path in the folder, or its number from 0."""
        if isinstance(self.split, FileSplit):
            return str(self.split.paths[index].relative_to(self.root))
        return str(index) if self.split is None else self.split.name(index)


def open_source(
    data: str,
    store: ContentStore,
    read: Callable[[Path], np.ndarray],
    workers: int,
    *,
    exclude: Path | None = None,
    root: Path = Path("data"),
    download: bool = False,
    limit: int = 0,
    seed: int = 0,
) -> Iterator[Checked | Source]:
    """Yield the check's progress and at the end the Source.

    Args:
        data: a folder or an image, a name of `BUILTIN` or `TOYS`, or a `.csv`, `.tsv` or `.npy` file.
        store: fingerprints of images known to be readable.
        read: decodes one image, H × W × 3 uint8.
        exclude: a folder whose images are not read: the output.
        root, download: where sets by name are kept, and whether to fetch an absent one.
        limit: use only so many items, drawn at random; 0 uses all.

    Raises:
        DataError: no such data, nothing readable in it, or numbers that are none.
    """
    path = Path(data)
    if not path.exists() and data in TOYS:
        found = _toy(data, seed)
    elif not path.exists() and data in BUILTIN:
        found = _builtin(load_builtin(data, root, download))
    elif not path.exists():
        raise DataError(f"{data}: no such file, folder or data set{did_you_mean(data, (*BUILTIN, *TOYS))}")
    elif path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        found = _table(path)
    else:
        found = yield from _files(path, store, read, workers, exclude)
    yield _limited(found, limit, seed)


def _toy(name: str, seed: int) -> Source:
    from sklearn import datasets

    if name == "blobs":
        points, labels = datasets.make_blobs(
            _TOY_POINTS, centers=np.array(_BLOBS), cluster_std=_TOY_NOISE, random_state=seed
        )
    elif name == "moons":
        points, labels = datasets.make_moons(_TOY_POINTS, noise=_TOY_NOISE, random_state=seed)
    else:
        points, labels = datasets.make_circles(_TOY_POINTS, noise=_TOY_NOISE, factor=0.5, random_state=seed)
    names = tuple(str(label) for label in range(labels.max() + 1))
    return Source(name, Kind.POINTS, rows=points.astype(np.float32), labels=labels.astype(np.int64), class_names=names)


def _builtin(dataset: Dataset) -> Source:
    split = join_splits([dataset.splits["train"]])
    return Source(dataset.name, Kind.ARRAYS, split, labels=split.labels, class_names=dataset.class_names)


def _table(path: Path) -> Source:
    if path.suffix.lower() != ".npy":
        rows = read_csv(path)
        check_finite(rows, path)
        return Source(path.stem, Kind.TABLE, rows=rows)
    table = TableFile(path)
    if table.dtype == np.uint8 and (len(table.shape) == 3 or (len(table.shape) == 4 and table.shape[3] == 3)):
        images = np.load(path)
        return Source(path.stem, Kind.ARRAYS, ArraySplit(images, np.zeros(len(images), np.int64), path.stem))
    check_finite(table, path)
    return Source(path.stem, Kind.TABLE, rows=table)


def _files(
    path: Path,
    store: ContentStore,
    read: Callable[[Path], np.ndarray],
    workers: int,
    exclude: Path | None,
) -> Generator[Checked, None, Source]:
    images = find_images(path, exclude) if path.is_dir() else [path]
    if not images:
        raise DataError(f"{path}: no pictures in this folder")
    root = path if path.is_dir() else path.parent
    names, labels, notes = class_folders([image.relative_to(root) for image in images])
    findings = Findings()
    listed = FileSplit(tuple(images), np.zeros(len(images), np.int64) if labels is None else labels)
    dataset = yield from check_files(Dataset(path.name, names, {"all": listed}), findings, store, read, True, workers)
    split = dataset.splits["all"]
    return Source(
        *(path.resolve().name, Kind.FILES, split, None, root),
        labels=None if labels is None else split.labels,
        class_names=names,
        notes=notes,
        unreadable=tuple(findings.unreadable),
    )


def class_folders(relative: list[Path]) -> tuple[tuple[str, ...], np.ndarray | None, tuple[str, ...]]:
    """Class names, the class of each image, and notes, from paths in a folder.

    The class is the first folder of a path, after `train/`, `val/` and `test/` where all paths begin with one of those.
    Without folders, with one only, or with images beside the folders, there are no classes.
    """
    parts = [path.parts for path in relative]
    if all(len(part) > 2 and part[0].lower() in SPLIT_NAMES for part in parts):
        parts = [part[1:] for part in parts]
    loose = sum(len(part) == 1 for part in parts)
    names = sorted({part[0] for part in parts if len(part) > 1}, key=lambda name: natural_key(Path(name)))
    if len(names) < 2 or loose:
        notes = (f"{loose} pictures lie in no class folder, so folders are not taken for classes",) if names else ()
        return (), None, notes if loose else ()
    return tuple(names), np.array([names.index(part[0]) for part in parts], np.int64), ()


def _limited(source: Source, limit: int, seed: int) -> Source:
    if not limit or limit >= len(source):
        return source
    chosen = np.sort(numpy_generator(seed, "limit").choice(len(source), limit, replace=False))
    labels = None if source.labels is None else source.labels[chosen]
    if source.split is not None:
        return replace(source, split=source.split.take(chosen), labels=labels)
    rows = source.rows.take(chosen) if isinstance(source.rows, TableFile) else source.rows[chosen]
    return replace(source, rows=rows, labels=labels)
