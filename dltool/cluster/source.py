"""What shall be grouped: a folder of images, a data set by name, a table, or toy points."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from dltool.cluster.table import TABLE_SUFFIXES, TableFile, check_finite, read_csv
from dltool.data.builtin import BUILTIN, is_builtin
from dltool.data.check import Checked
from dltool.data.folders import Findings
from dltool.data.limit import choose_evenly
from dltool.data.load import Listed, check_data, list_data
from dltool.data.settings import DataSettings
from dltool.data.splits import ArraySplit, Dataset, FileSplit, Split
from dltool.data.store import ContentStore
from dltool.errors import DataError, did_you_mean

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
        limit: use only so many items, as `choose_evenly` takes them; 0 uses all.
        seed: of the toys.

    Raises:
        DataError: no such data, nothing readable in it, or numbers that are none.
    """
    path = Path(data)
    if not path.exists() and data in TOYS:
        yield _limited(_toy(data, seed), limit)
    elif not path.exists() and data not in BUILTIN:
        raise DataError(f"{data}: no such file, folder or data set{did_you_mean(data, (*BUILTIN, *TOYS))}")
    elif path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        yield _limited(_table(path), limit)
    else:
        kind = {"complete": False, "labelled": False, "joined": True}
        settings = DataSettings(data, limit=limit, root=root, download=download, **kind)
        yield (yield from _images(settings, store, read, workers, exclude))


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


def _images(
    settings: DataSettings,
    store: ContentStore,
    read: Callable[[Path], np.ndarray],
    workers: int,
    exclude: Path | None,
) -> Generator[Checked, None, Source]:
    path = Path(settings.source)
    if path.is_file():
        one = FileSplit((path,), np.zeros(1, np.int64))
        listed = Listed(Dataset(path.name, (path.name,), {"train": one}), Findings())
    else:
        listed = list_data(settings, exclude)
    report = yield from check_data(listed, settings, store, read, workers)
    dataset = report.dataset
    split = dataset.splits["train"]
    has_classes = len(dataset.class_names) > 1
    return Source(
        name=dataset.name,
        kind=Kind.ARRAYS if is_builtin(settings.source) else Kind.FILES,
        split=split,
        root=path if path.is_dir() else path.parent,
        labels=split.labels if has_classes else None,
        class_names=dataset.class_names if has_classes else (),
        notes=report.notes,
        unreadable=report.unreadable,
    )


def _limited(source: Source, limit: int) -> Source:
    labels = np.zeros(len(source), int) if source.labels is None else source.labels
    chosen = choose_evenly(labels, limit)
    if len(chosen) == len(source):
        return source
    labels = None if source.labels is None else source.labels[chosen]
    if source.split is not None:
        return replace(source, split=source.split.take(chosen), labels=labels)
    rows = source.rows.take(chosen) if isinstance(source.rows, TableFile) else source.rows[chosen]
    return replace(source, rows=rows, labels=labels)
