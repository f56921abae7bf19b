"""Tables of any file: which columns are compared, which name the rows, and which one groups are scored against."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dltool.cluster.table import TableFile
from dltool.cluster.table_layout import TableLayout, find_layout, is_number, ragged_line
from dltool.errors import DataError, SettingsError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".dat")
TABLE_SUFFIXES = (*TEXT_SUFFIXES, ".npy", ".npz", ".parquet")
# Running numbers of fewer rows may be numbers as well as others.
_FEWEST_RUNNING = 3
_NAMED = 6


@dataclass(frozen=True)
class TableChoice:
    """What was asked for: columns by name (or by number from 1), those to leave out, and the one to score against."""

    columns: Sequence[str] = ()
    ignore: Sequence[str] = ()
    label_column: str | None = None


@dataclass(frozen=True)
class Table:
    """A table as it shall be grouped.

    Attributes:
        rows: N × D numbers: float64, or a file of them.
        columns: the D names, or numbers from 1; empty where all columns of a table without names are compared.
        names: of the rows; empty where there are none.
        labels: N int64, of the label column.
        images: N × H × W or N × H × W × 3 uint8 in place of `rows`: the file held images.
    """

    rows: np.ndarray | TableFile | None = None
    columns: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    images: np.ndarray | None = field(default=None, repr=False)


def read_table(path: Path, choice: TableChoice) -> Table:
    """Read a table of any of `TABLE_SUFFIXES` and choose its columns.

    Raises:
        DataError: unreadable, or no numbers to compare.
        SettingsError: a column that it does not have, or that holds text.
    """
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return _read_arrays(path, choice)
    if suffix == ".parquet":
        return choose_columns(_read_parquet(path), choice, path)
    layout = find_layout(path)
    table = choose_columns(_read_text(path, layout), choice, path, layout)
    if np.isnan(table.rows).any():
        ragged = ragged_line(path, layout)
        if ragged:
            raise DataError(f"{path}: {ragged}")
    return table


def _read_text(path: Path, layout: TableLayout) -> "pd.DataFrame":
    import pandas as pd

    try:
        frame = pd.read_csv(
            path,
            sep=r"\s+" if layout.separator == " " else layout.separator,
            decimal=layout.decimal,
            header=0 if layout.header else None,
            encoding="utf-8-sig",
            skipinitialspace=True,
            low_memory=False,
        )
    except (ValueError, OSError) as error:
        told = ragged_line(path, layout) or " ".join(str(error).split())[:120]
        raise DataError(f"{path}: {told}") from error
    if not len(frame):
        raise DataError(f"{path}: no row of numbers in it")
    return _name_columns(frame, layout.header)


def _read_parquet(path: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise DataError(f"{path}: reading Parquet needs pyarrow (pip install pyarrow), or a .csv of it") from error
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({' '.join(str(error).split())[:80]})") from error
    return _name_columns(frame, True)


def _name_columns(frame: "pd.DataFrame", named: bool) -> "pd.DataFrame":
    """The frame with its index as a column, unnamed columns called '', and those of a nameless table by number."""
    import pandas as pd

    names = [str(name).strip() for name in frame.columns]
    if not isinstance(frame.index, pd.RangeIndex):  # of a file whose rows have more cells than its header, too
        names = [*(str(name or "") for name in frame.index.names), *names]
        index = frame.index.to_frame(index=False, name=list(range(frame.index.nlevels)))
        frame = pd.concat([index, frame.reset_index(drop=True)], axis=1)
    if not named:
        names = [str(n + 1) for n in range(frame.shape[1])]
    if named and names[0].startswith("Unnamed: "):
        names[0] = ""
    return frame.set_axis(names, axis=1)


def choose_columns(frame: "pd.DataFrame", choice: TableChoice, path: Path, layout: TableLayout | None = None) -> Table:
    """Sort columns into those that are compared, names of the rows, the label, and what is left out and said.

    Raises:
        DataError: no numbers to compare, or a column of numbers with a cell that is none.
        SettingsError: a column that is not there, or that holds text.
    """
    header = layout is None or layout.header
    names = list(frame.columns)
    places = _Places(names, path)
    label = None if choice.label_column is None else places.find("--label-column", choice.label_column)
    wanted = [places.find("--columns", name) for name in choice.columns]
    ignored = {places.find("--ignore", name) for name in choice.ignore} | ({label} - {None})
    notes: list[str] = []
    named: tuple[str, ...] = ()
    rest = [place for place in range(len(names)) if place not in ignored and place not in wanted]
    numeric = {place: _as_numbers(frame.iloc[:, place], places.say(place), path, layout) for place in (*wanted, *rest)}
    for place in wanted:
        if numeric[place] is None:
            raise SettingsError(f"--columns {names[place]}: holds text, which is not compared; leave it out")
    index = 0 if rest[:1] == [0] and _is_index(frame, numeric) else None
    if index is not None:
        rest.remove(index)
        named = _unique(frame, index)
        what = "has no name" if names[0] == "" else "counts the rows"
        notes.append(f"{places.say(0)} {what}, so it is an index and not compared; --columns would")
    texts = [place for place in rest if numeric[place] is None]
    called = index is not None and numeric[index] is None and named
    naming = None if called else next((place for place in texts if _unique(frame, place)), None)
    if naming is not None:
        named = _unique(frame, naming)
        texts.remove(naming)
        notes.append(f"rows are called by {places.say(naming)}")
    if texts:
        told = [f"{places.say(place)} ({frame.iloc[:, place].nunique()} different)" for place in texts[:_NAMED]]
        more = ", …" if len(texts) > _NAMED else ""
        notes.append(
            f"text is not compared, left out: {', '.join(told)}{more}; --label-column scores the groups against one"
        )
    compared = wanted or [place for place in rest if numeric[place] is not None]
    if not compared:
        raise DataError(
            f"{path}: no column of numbers in it to compare (it has {', '.join(map(places.say, range(len(names))))})"
        )
    labels, classes = (None, ()) if label is None else _classes(frame, label, path)
    everything = not header and len(compared) == len(names)
    return Table(
        np.stack([numeric[place] for place in compared], axis=1),
        columns=() if everything else tuple(names[place] for place in compared),
        names=named,
        labels=labels,
        class_names=classes,
        notes=tuple(notes),
    )


class _Places:
    """Columns by the names that a user types: their own, or their numbers from 1."""

    def __init__(self, names: Sequence[str], path: Path) -> None:
        self._names, self._path = names, path

    def find(self, option: str, name: str) -> int:
        """The place of a column from 0; SettingsError if it is not there."""
        if name in self._names:
            return self._names.index(name)
        if name.isdecimal() and 1 <= int(name) <= len(self._names):
            return int(name) - 1
        near = did_you_mean(name, [known for known in self._names if known])
        has = ", ".join(self._names[:_NAMED]) + (", …" if len(self._names) > _NAMED else "")
        raise SettingsError(f"{option} {name}: {self._path} has no such column{near or f' (it has {has})'}")

    def say(self, place: int) -> str:
        """A column for a message."""
        name = self._names[place]
        return f"column {place + 1}" if name in ("", str(place + 1)) else f"column '{name}'"


def _as_numbers(column: "pd.Series", name: str, path: Path, layout: TableLayout | None) -> np.ndarray | None:
    """A column as float64, NaN where cells are empty; None for text.

    Raises:
        DataError: most cells are numbers, but one is not.
    """
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column):
        return column.to_numpy(np.float64, na_value=np.nan)
    if pd.api.types.is_datetime64_any_dtype(column) or not len(column):
        return None
    filled = column.dropna().astype(str)
    decimal = "." if layout is None else layout.decimal
    bad = [(row, cell) for row, cell in filled.items() if not is_number(cell, decimal)]
    if not bad and len(filled):
        return pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    if not len(filled) or len(bad) > len(filled) / 2:
        return None
    row, cell = bad[0]
    line = f"line {row + 1 + (layout.header if layout else 0)}, {name}"
    raise DataError(f"{path}: {line}: '{cell[:30]}' is not a number; correct it, or leave the column out by --ignore")


def _is_index(frame: "pd.DataFrame", numeric: dict[int, np.ndarray | None]) -> bool:
    """Whether the first column has no name beside others that do, or counts the rows from 0 or 1."""
    if sum(values is not None for values in numeric.values()) < 2 and numeric[0] is not None:
        return False
    if frame.columns[0] == "":
        return True
    values = numeric[0]
    if values is None or len(values) < _FEWEST_RUNNING:
        return False
    return values[0] in (0, 1) and bool((np.diff(values) == 1).all())


def _unique(frame: "pd.DataFrame", place: int) -> tuple[str, ...]:
    """The cells of a column as names of rows; none where two are the same or one is empty."""
    column = frame.iloc[:, place]
    return tuple(map(str, column)) if column.is_unique and not column.isna().any() else ()


def _classes(frame: "pd.DataFrame", place: int, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers of classes and their names, of a label column."""
    import pandas as pd

    codes, classes = pd.factorize(frame.iloc[:, place], sort=True)
    if (codes < 0).any():
        row = int(np.argmax(codes < 0)) + 1
        raise DataError(f"{path}: row {row} has no label in '{frame.columns[place]}'; fill it in or remove the row")
    return codes.astype(np.int64), tuple(map(str, classes))


def _read_arrays(path: Path, choice: TableChoice) -> Table:
    """A table or images of an `.npy` file, or of the one array in an `.npz` file that is either."""
    labels, classes = None, ()
    if path.suffix.lower() == ".npy":
        if choice.label_column is not None:
            raise SettingsError(f"--label-column {choice.label_column}: {path} has no column of labels; give a .csv")
        rows = TableFile(path)
        if _are_images(rows.shape, rows.dtype):
            return Table(images=np.load(path))
        notes: tuple[str, ...] = ()
    else:
        arrays = _open_archive(path)
        array, notes = _pick_array(arrays, path)
        if choice.label_column is not None:
            labels, classes = _label_array(arrays, choice.label_column, len(array), path)
        if _are_images(array.shape, array.dtype):
            return Table(images=array, labels=labels, class_names=classes, notes=notes)
        rows = array.astype(np.float64)
    if len(rows.shape) != 2 or not (choice.columns or choice.ignore):
        return Table(rows, labels=labels, class_names=classes, notes=notes)
    names = [str(number + 1) for number in range(rows.shape[1])]
    places = _Places(names, path)
    ignored = {places.find("--ignore", name) for name in choice.ignore}
    wanted = [places.find("--columns", name) for name in choice.columns] or range(len(names))
    kept = [place for place in wanted if place not in ignored]
    if not kept:
        raise DataError(f"{path}: no column is left to compare")
    rows = rows.select(kept) if isinstance(rows, TableFile) else rows[:, kept]
    return Table(rows, tuple(names[place] for place in kept), (), labels, classes, notes)


def _open_archive(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not a readable .npz file ({' '.join(str(error).split())[:80]})") from error


def _pick_array(arrays: dict[str, np.ndarray], path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    fitting = {
        name: array
        for name, array in arrays.items()
        if array.dtype.kind in "fiub" and (array.ndim == 2 or _are_images(array.shape, array.dtype))
    }
    if len(fitting) != 1:
        shapes = ", ".join(f"{name} {' × '.join(map(str, array.shape))}" for name, array in arrays.items())
        raise DataError(f"{path}: one table of rows is needed, it holds {shapes or 'none'}; save it as .npy")
    ((name, array),) = fitting.items()
    others = [other for other in arrays if other != name]
    notes = (f"of its arrays {name} is grouped; not {', '.join(others[:_NAMED])}",) if others else ()
    return array, notes


def _label_array(
    arrays: dict[str, np.ndarray], name: str, count: int, path: Path
) -> tuple[np.ndarray, tuple[str, ...]]:
    if name not in arrays or arrays[name].shape != (count,):
        raise SettingsError(f"--label-column {name}: {path} has no array of {count} labels of that name")
    classes, codes = np.unique(arrays[name], return_inverse=True)
    return codes.astype(np.int64), tuple(map(str, classes))


def _are_images(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    return dtype == np.uint8 and (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3))
