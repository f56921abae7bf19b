"""Tables of points: numbers in `.csv` and `.npy` files, read in pieces where they are larger than memory."""

import csv
from pathlib import Path

import numpy as np

from dltool.errors import DataError

TABLE_SUFFIXES = (".csv", ".tsv", ".npy")
_PIECE = 8192
_LARGEST = 1e15


class TableFile:
    """The rows of a two-dimensional `.npy` file, read from it slice by slice.

    Unlike a memory map, whose pages count as the process's memory once they are touched, nothing stays behind.
    """

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            DataError: not an .npy file of numbers in rows.
        """
        self.path = path
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                self.shape, self._fortran, self.dtype = read(file)
                self._offset = file.tell()
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: not a readable .npy file ({' '.join(str(error).split())[:80]})") from error
        if self.dtype.kind not in "fiub":
            raise DataError(f"{path}: holds {self.dtype}, but numbers are needed")
        if path.stat().st_size < self._offset + self.dtype.itemsize * int(np.prod(self.shape)):
            raise DataError(f"{path}: truncated: shorter than its header says")

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the table as float32."""
        return 4 * int(np.prod(self.shape))

    def __getitem__(self, part: slice) -> np.ndarray:
        """Rows of a slice without a step, float32."""
        start, stop, step = part.indices(len(self))
        assert step == 1
        if self._fortran and len(self.shape) > 1:  # columns lie together: the map's pages hold all of them
            return _as_float(np.load(self.path, mmap_mode="r")[start:stop])
        width = int(np.prod(self.shape[1:]))
        with self.path.open("rb", buffering=0) as file:
            file.seek(self._offset + start * width * self.dtype.itemsize)
            wanted = max(0, stop - start) * width
            flat = np.frombuffer(file.read(wanted * self.dtype.itemsize), self.dtype)
        return _as_float(flat.reshape(-1, *self.shape[1:]))

    def take(self, indices: np.ndarray) -> np.ndarray:
        """The rows at `indices`, float32."""
        return np.stack([self[int(i) : int(i) + 1][0] for i in indices])


def _as_float(rows: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what becomes infinite is named by `check_finite`
        return np.array(rows, dtype=np.float32)


def read_csv(path: Path) -> np.ndarray:
    """Read numbers separated by commas, semicolons or tabs, with a line of column names or without: N × D float32.

    Raises:
        DataError: unreadable, empty, not all numbers; the message names the line.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            rest = file.readline()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable text file ({error})") from error
    if not first.strip():
        raise DataError(f"{path}: its first line is empty; numbers, or names of columns, are needed there")
    delimiter = max(",;\t", key=first.count)
    header = not any(_is_number(cell) for cell in next(csv.reader([first], delimiter=delimiter)))
    if header and not rest.strip():
        raise DataError(f"{path}: no row of numbers in it")
    try:
        return np.loadtxt(
            *(path, np.float32),
            delimiter=delimiter,
            skiprows=int(header),
            ndmin=2,
            encoding="utf-8-sig",
            comments=None,
            quotechar='"',
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: {_first_bad_cell(path, delimiter, header) or ' '.join(str(error).split())}"
        ) from error


def check_finite(rows: np.ndarray | TableFile, path: Path) -> None:
    """Raise DataError for an empty table, at the first number that is none (NaN), and for what float32 cannot square.

    Distances are sums of squares: beyond 1e15 they may overflow, and below 1e-15 they may all be 0.
    """
    if len(rows.shape) != 2 or 0 in rows.shape:
        raise DataError(f"{path}: a table of rows and columns is needed, the shape of this one is {rows.shape}")
    largest = 0.0
    for start in range(0, len(rows), _PIECE):
        piece = rows[start : start + _PIECE]
        bad = np.argwhere(~(np.abs(piece) <= _LARGEST))
        if len(bad):
            row, column = bad[0]
            place, value = f"row {start + row + 1}, column {column + 1}", piece[row, column]
            told = "; remove the row or fill it in" if np.isnan(value) else ", too large; scale the columns"
            raise DataError(f"{path}: {place} is {value:.3g}{told}")
        largest = max(largest, float(np.abs(piece).max()))
    if 0 < largest < 1 / _LARGEST:
        raise DataError(f"{path}: no number in it is larger than {largest:.1g}, too small; scale the columns")


def _first_bad_cell(path: Path, delimiter: str, header: bool) -> str:
    """Words about the first line that does not hold the numbers that it should."""
    width = None
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        for number, cells in enumerate(csv.reader(file, delimiter=delimiter), start=1):
            if (number == 1 and header) or not cells:
                continue
            width = width or len(cells)
            for column, cell in enumerate(cells, start=1):
                if not _is_number(cell):
                    said = f"'{cell[:30]}' is not a number" if cell.strip() else "an empty cell"
                    return f"line {number}, column {column}: {said}; columns of numbers only"
            if len(cells) != width:
                return f"line {number}: {len(cells)} columns, but {width} in the lines before"
    return ""


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
