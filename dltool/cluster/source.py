"""What shall be grouped: a folder of images, a data set by name, a table, or toy points."""

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from dltool.backbones.preprocessing import Preprocessing
from dltool.cluster.likeness import thumbnail
from dltool.cluster.settings import ClusterData
from dltool.cluster.table import ColumnStatistics, TableFile, measure_columns
from dltool.cluster.table_columns import TABLE_SUFFIXES, TableChoice, read_table
from dltool.data.builtin import BUILTIN
from dltool.data.check import Checked
from dltool.data.findings import Findings
from dltool.data.limit import choose_evenly
from dltool.data.load import Listed, check_data, list_data
from dltool.data.pixels import PixelReader
from dltool.data.splits import ArraySplit, Dataset, FileSplit, Split
from dltool.data.store import ContentStore
from dltool.errors import DataError, did_you_mean
from dltool.events import until_stopped
from dltool.training.context import RunContext

TOYS = ("circles", "moons", "blobs")
_TOY_POINTS, _TOY_NOISE = 500, 0.1
_BLOBS = ((-0.5, -0.3), (0.5, -0.3), (0.0, 0.6))


class SourceKind(StrEnum):
    """What the items are: files of images, small images of one size in memory, rows of a table, toy points."""

    FILES = "pictures"
    ARRAYS = "small pictures"
    TABLE = "rows"
    POINTS = "points"


@dataclass(frozen=True)
class ClusterSource:
    """Items to be grouped.

    Attributes:
        split: the images; None for numbers.
        rows: N × D numbers, float64 or a file of them for a table, float32 for toy points; None for images.
        statistics: of a table's columns.
        columns: the names of a table's columns; empty where it has none and all are compared.
        names: of the rows; empty where they have none.
        root: the folder of files, which names are relative to.
        labels: N int64, the classes that are known, for scoring only; None where there are none.
        reader: what files were looked at with, and what it has kept of them; None if nothing was to be kept.
        thumbnails: of files, by content; None for all else.
    """

    name: str
    kind: SourceKind
    split: Split | None = None
    rows: np.ndarray | TableFile | None = None
    statistics: ColumnStatistics | None = None
    columns: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    root: Path | None = None
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = field(default=(), repr=False)
    reader: PixelReader | None = field(default=None, repr=False)
    thumbnails: ContentStore | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.split if self.split is not None else self.rows)

    def item(self, index: int) -> str:
        """What a report calls an item: its path in the folder, a row's name, or its number from 0."""
        if isinstance(self.split, FileSplit):
            return str(self.split.paths[index].relative_to(self.root))
        if self.names:
            return self.names[index]
        return str(index) if self.split is None else self.split.name(index)

    def reader_for(self, preprocessing: Preprocessing) -> PixelReader:
        """A reader of the images that decodes none again that has been kept at the size that is wanted."""
        return PixelReader(preprocessing) if self.reader is None else self.reader.for_preprocessing(preprocessing)


def is_images(data: ClusterData) -> bool:
    """Whether image files shall be grouped, rather than a table, toy points or a set by name."""
    path = Path(data.source)
    return path.is_dir() or (path.is_file() and path.suffix.lower() not in TABLE_SUFFIXES)


def open_source(
    data: ClusterData,
    context: RunContext,
    exclude: Path | None = None,
    preprocessing: Preprocessing | None = None,
) -> Generator[Checked, None, ClusterSource | None]:
    """Return what `data` names, its images having been looked at; None if that was stopped.

    Args:
        exclude: a folder whose images are not read: the output.
        preprocessing: what the features will want of files, as `embedder_for_files` has it: they are then kept as far
            as memory allows, and not decoded again.

    Raises:
        DataError: no such data, nothing readable in it, or numbers that are none.
        SettingsError: the data is the folder that is to be left out.
    """
    name, path = data.source, Path(data.source)
    if not path.exists() and name in TOYS:
        return _limited(_toy(name, data.seed), data.limit)
    if not path.exists() and name not in BUILTIN:
        raise DataError(f"{name}: no such file, folder or data set{did_you_mean(name, (*BUILTIN, *TOYS))}")
    if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        return _limited(_table(path, data), data.limit)
    return (yield from until_stopped(_images(data, context, exclude, preprocessing), context.should_stop))


def _toy(name: str, seed: int) -> ClusterSource:
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
    return ClusterSource(
        name, SourceKind.POINTS, rows=points.astype(np.float32), labels=labels.astype(np.int64), class_names=names
    )


def _table(path: Path, data: ClusterData) -> ClusterSource:
    table = read_table(path, TableChoice(data.columns, data.ignore, data.label_column))
    classes = {"labels": table.labels, "class_names": table.class_names, "notes": table.notes}
    if table.images is not None:
        split = ArraySplit(table.images, np.zeros(len(table.images), np.int64), path.stem)
        return ClusterSource(path.stem, SourceKind.ARRAYS, split, **classes)
    statistics = measure_columns(table.rows, path)
    return ClusterSource(
        *(path.stem, SourceKind.TABLE),
        rows=table.rows,
        statistics=statistics,
        columns=table.columns,
        names=table.names,
        **classes,
    )


def _images(
    data: ClusterData, context: RunContext, exclude: Path | None, preprocessing: Preprocessing | None
) -> Generator[Checked, None, ClusterSource]:
    path = Path(data.source)
    if path.is_file():
        one = FileSplit((path,), np.zeros(1, np.int64))
        listed = Listed(Dataset(path.name, (path.name,), {"train": one}), Findings())
    else:
        listed = list_data(data, exclude)
    store = ContentStore(context.cache / "thumbnails" if context.cache else None)
    reader = PixelReader(Preprocessing(), max_bytes=0) if preprocessing is None else PixelReader(preprocessing)
    report = yield from check_data(listed, data, store, reader.decode, context.workers, describe=thumbnail)
    dataset = report.dataset
    split = dataset.splits["train"]
    has_classes = len(dataset.class_names) > 1
    return ClusterSource(
        name=dataset.name,
        kind=SourceKind.FILES if isinstance(split, FileSplit) else SourceKind.ARRAYS,
        thumbnails=store if isinstance(split, FileSplit) else None,
        split=split,
        root=path if path.is_dir() else path.parent,
        labels=split.labels if has_classes else None,
        class_names=dataset.class_names if has_classes else (),
        notes=report.notes,
        unreadable=report.unreadable,
        reader=None if preprocessing is None else reader,
    )


def _limited(source: ClusterSource, limit: int) -> ClusterSource:
    labels = np.zeros(len(source), int) if source.labels is None else source.labels
    chosen = choose_evenly(labels, limit)
    if len(chosen) == len(source):
        return source
    labels = None if source.labels is None else source.labels[chosen]
    if source.split is not None:
        return replace(source, split=source.split.take(chosen), labels=labels)
    rows = source.rows.take_numbers(chosen) if isinstance(source.rows, TableFile) else source.rows[chosen]
    names = tuple(source.names[index] for index in chosen) if source.names else ()
    return replace(source, rows=rows, labels=labels, names=names)
