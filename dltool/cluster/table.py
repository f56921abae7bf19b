"""Numbers of a table: `.npy` files read in pieces where they are larger than memory, and what its columns are like."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import numpy as np

from dltool.errors import DataError

_PIECE = 8192
_LARGEST = 1e15
_NAMED_ROWS = 8
# One wide column drowns the others where their spreads are this far apart.
_UNLIKE = 10
# More columns are one measurement, such as pixels or an embedding, and not made alike unless that is asked for.
_MOST_UNLIKE_COLUMNS = 64


@dataclass(frozen=True)
class Scaling:
    """(x - mean) / scale for each column, in float64, so that large offsets cost no digits; the result is float32.

    Attributes:
        mean: D float64.
        scale: D float64, the columns' standard deviations; None leaves them as they are.
    """

    mean: np.ndarray
    scale: np.ndarray | None = None

    def __call__(self, rows: "np.ndarray | TableFile") -> "np.ndarray | TableFile":
        """N × D numbers, scaled, as float32; those of a file as they are read."""
        if isinstance(rows, TableFile):
            return rows.scaled(self)
        moved = rows.astype(np.float64) - self.mean
        return (moved if self.scale is None else moved / self.scale).astype(np.float32)


@dataclass(frozen=True)
class ColumnStatistics:
    """What D columns are like: mean, standard deviation, smallest and largest number, each D float64."""

    mean: np.ndarray
    spread: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def unlike(self) -> tuple[int, int] | None:
        """Numbers of the widest and the narrowest column where their spreads are over ten times apart.

        Constant columns do not count. None also for more than 64 columns, which are one measurement: pixels, codes.
        """
        varying = np.flatnonzero(self.spread > 0)
        if len(varying) < 2 or len(self.spread) > _MOST_UNLIKE_COLUMNS:
            return None
        widest = int(varying[self.spread[varying].argmax()])
        narrowest = int(varying[self.spread[varying].argmin()])
        return (widest, narrowest) if self.spread[widest] > _UNLIKE * self.spread[narrowest] else None

    def scaling(self, standardize: bool, name: str) -> Scaling:
        """How such columns become rows that float32 holds.

        Raises:
            DataError: the squares of the differences would overflow, or all be 0; the message begins with `name`.
        """
        scale = np.where(self.spread > 0, self.spread, 1.0) if standardize else None
        reach = np.maximum(self.high - self.mean, self.mean - self.low) / (1.0 if scale is None else scale)
        column = int(reach.argmax())
        if not reach[column] <= _LARGEST:
            value = max(self.low[column], self.high[column], key=abs)
            raise DataError(f"{name}: {value:.3g} in column {column + 1} is too large; give --standardize")
        if 0 < reach[column] < 1 / _LARGEST:
            raise DataError(f"{name}: no two rows are {reach[column]:.1g} apart, too small; give --standardize")
        return Scaling(self.mean, scale)


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
        self._columns: np.ndarray | None = None
        self._scaling: Scaling | None = None
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                self._shape, self._fortran, self.dtype = read(file)
                self._offset = file.tell()
        except (OSError, ValueError, EOFError, TypeError, SyntaxError, RecursionError, TokenError) as error:
            raise DataError(f"{path}: not a readable .npy file ({' '.join(str(error).split())[:80]})") from error
        if self.dtype.kind not in "fiub":
            raise DataError(f"{path}: holds {self.dtype}, but numbers are needed")
        if path.stat().st_size < self._offset + self.dtype.itemsize * math.prod(self._shape):
            raise DataError(f"{path}: truncated: shorter than its header says")

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, and columns of those that were selected."""
        return self._shape if self._columns is None else (self._shape[0], len(self._columns))

    def __len__(self) -> int:
        return self._shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the table as float32."""
        return 4 * int(np.prod(self.shape))

    def select(self, columns: Sequence[int]) -> "TableFile":
        """The same rows with these columns, numbered from 0."""
        selected = copy.copy(self)
        selected._columns = np.asarray(columns)
        return selected

    def scaled(self, scaling: Scaling) -> "TableFile":
        """The same rows, scaled as they are read."""
        other = copy.copy(self)
        other._scaling = scaling
        return other

    def numbers(self, part: slice) -> np.ndarray:
        """Rows of a slice without a step as the file has them, float64."""
        rows = self._read(part)
        return np.array(rows if self._columns is None else rows[:, self._columns], dtype=np.float64)

    def __getitem__(self, part: slice) -> np.ndarray:
        """Rows of a slice without a step, scaled, float32."""
        numbers = self.numbers(part)
        if self._scaling is not None:
            return self._scaling(numbers)
        with np.errstate(over="ignore"):
            return numbers.astype(np.float32)

    def take(self, indices: np.ndarray) -> np.ndarray:
        """The rows at `indices`, scaled, float32."""
        return np.stack([self[int(i) : int(i) + 1][0] for i in indices])

    def take_numbers(self, indices: np.ndarray) -> np.ndarray:
        """The rows at `indices` as the file has them, float64."""
        return np.stack([self.numbers(slice(int(i), int(i) + 1))[0] for i in indices])

    def _read(self, part: slice) -> np.ndarray:
        start, stop, step = part.indices(len(self))
        assert step == 1
        if self._fortran and len(self._shape) > 1:  # columns lie together: the map's pages hold all of them
            return np.load(self.path, mmap_mode="r")[start:stop]
        width = int(np.prod(self._shape[1:]))
        with self.path.open("rb", buffering=0) as file:
            file.seek(self._offset + start * width * self.dtype.itemsize)
            wanted = max(0, stop - start) * width
            flat = np.frombuffer(file.read(wanted * self.dtype.itemsize), self.dtype)
        return flat.reshape(-1, *self._shape[1:])


def measure_columns(rows: np.ndarray | TableFile, path: Path) -> ColumnStatistics:
    """Look at every number of a table, in one pass.

    Raises:
        DataError: an empty table, or numbers that are none: NaN, infinity; the message names the rows.
    """
    if len(rows.shape) != 2 or 0 in rows.shape:
        raise DataError(f"{path}: a table of rows and columns is needed, the shape of this one is {rows.shape}")
    whole = isinstance(rows, np.ndarray)
    first: np.ndarray | None = None
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(rows), _PIECE):
            part = slice(start, start + _PIECE)
            piece = rows[part].astype(np.float64) if whole else rows.numbers(part)
            if not np.isfinite(piece).all():
                raise DataError(f"{path}: {_describe_bad(piece, start)}")
            if first is None:
                # Sums are taken from the first row, so that squares do not lose their digits far from zero.
                first = piece[0].copy()
                total, squares = np.zeros_like(first), np.zeros_like(first)
                low, high = first.copy(), first.copy()
            moved = piece - first
            total += moved.sum(0)
            squares += np.square(moved).sum(0)
            low, high = np.minimum(low, piece.min(0)), np.maximum(high, piece.max(0))
        mean = total / len(rows)
        variance = np.where(high > low, np.maximum(squares / len(rows) - np.square(mean), 0), 0)
        return ColumnStatistics(first + mean, np.sqrt(variance), low, high)


def _describe_bad(piece: np.ndarray, start: int) -> str:
    """Words about the numbers of some rows, the first of which is row `start` of the table, that are none."""
    bad = ~np.isfinite(piece)
    row, column = np.argwhere(bad)[0]
    value = piece[row, column]
    numbers = np.flatnonzero(bad.any(1)) + start + 1
    several = ""
    if len(numbers) > 1:
        listed = ", ".join(map(str, numbers[:_NAMED_ROWS])) + (", …" if len(numbers) > _NAMED_ROWS else "")
        several = f" (rows with such cells: {listed})"
    said = f"{value:.3g}" if np.isnan(value) else f"{value:.3g}, too large"
    told = "remove the row, fill it in, or leave the column out by --ignore"
    return f"row {start + row + 1}, column {column + 1} is {said}{several}; {told}"
