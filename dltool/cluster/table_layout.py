"""How a text file holds a table: what stands between its cells, its decimal sign, and whether it names its columns."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from dltool.errors import DataError

_LINES = 100
_SEPARATORS = ("\t", ";", ",", " ")
_INTEGER = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class TableLayout:
    """What a reader needs to know.

    Attributes:
        separator: a tab, `;`, `,`, or a space for any run of spaces.
        decimal: `.` or `,`.
        header: whether the first line names the columns.
    """

    separator: str
    decimal: str
    header: bool


def find_layout(path: Path) -> TableLayout:
    """Look at the first lines of a text file.

    The separator is the one that gives every line the same number of cells, and the most numbers.

    Raises:
        DataError: unreadable, or its first line is empty.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line.rstrip("\r\n") for line, _ in zip(file, range(_LINES), strict=False)]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable text file ({error})") from error
    if not lines or not lines[0].strip():
        raise DataError(f"{path}: its first line is empty; numbers, or names of columns, are needed there")
    lines = [line for line in lines if line.strip()]
    best: tuple[tuple[bool, float], TableLayout] | None = None
    for separator in _SEPARATORS:
        cells = split_lines(lines, separator)
        widths = {len(row) for row in cells[1:]} or {len(cells[0])}
        regular = len(widths) == 1 and max(widths) > 1 and max(widths) - len(cells[0]) in (0, 1)
        decimal = _decimal_of(cells[1:] or cells, separator)
        below = [cell for row in cells[1:] or cells for cell in row]
        numbers = sum(is_number(cell, decimal) for cell in below) / max(1, len(below))
        # One cell a line says nothing for a separator that is not there.
        rank = (regular, numbers if regular or separator == "," else -1.0)
        if best is None or rank > best[0]:
            best = rank, TableLayout(separator, decimal, _has_header(cells, decimal))
    assert best is not None
    return best[1]


def split_lines(lines: Sequence[str], separator: str) -> list[list[str]]:
    """The cells of some lines, without the spaces and quotes around them."""
    rows = csv.reader(
        (line.strip() if separator == " " else line for line in lines), delimiter=separator, skipinitialspace=True
    )
    return [[cell.strip() for cell in row] for row in rows]


def is_number(cell: str, decimal: str = ".") -> bool:
    """Whether a cell holds a number with this decimal sign."""
    try:
        float(cell.replace(",", ".") if decimal == "," else cell)
    except ValueError:
        return False
    return True


def ragged_line(path: Path, layout: TableLayout) -> str:
    """Words about the first line whose number of cells is not that of the lines before; empty if there is none."""
    width = None
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip() or (number == 1 and layout.header):
                continue
            count = len(split_lines([line.rstrip("\r\n")], layout.separator)[0])
            width = width or count
            if count != width:
                return f"line {number}: {count} columns, but {width} in the lines before"
    return ""


def _decimal_of(rows: Sequence[Sequence[str]], separator: str) -> str:
    """A comma where numbers are written with it and never with a point."""
    if separator == ",":
        return "."
    cells = [cell for row in rows for cell in row]
    with_comma = any(re.fullmatch(r"[+-]?\d*,\d+([eE][+-]?\d+)?", cell) for cell in cells)
    return "," if with_comma and not any("." in cell and is_number(cell) for cell in cells) else "."


def _has_header(rows: Sequence[Sequence[str]], decimal: str) -> bool:
    """Whether the first line names columns rather than holding numbers itself.

    It does where no cell is a number, where a cell is none but those below it are, and where it counts its columns, as
    pandas does for a table without names: 0, 1, 2, …; two such cells may be numbers too, unless those below are
    written with decimals.
    """
    first, below = rows[0], rows[1:]
    if not any(is_number(cell, decimal) for cell in first):
        return True
    for column, cell in enumerate(first):
        under = [row[column] for row in below if column < len(row) and row[column]]
        if not is_number(cell, decimal) and under and all(is_number(value, decimal) for value in under):
            return True
    numbers = [cell for cell in first if is_number(cell, decimal)]
    if not all(_INTEGER.fullmatch(cell) for cell in numbers):
        return False
    counted = [int(cell) for cell in numbers]
    running = all(after - before == 1 for before, after in pairwise(counted))
    if len(numbers) < len(first):
        return running and len(numbers) > 1
    decimals = any(not _INTEGER.fullmatch(cell) for row in below for cell in row)
    return running and counted[0] == 0 and bool(below) and (len(first) > 2 or decimals)
