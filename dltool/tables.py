"""CSV files: the one way in which dltool writes them, safe for spreadsheets and for names of any bytes."""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote_from_bytes, unquote

# What a spreadsheet takes for a formula, and would carry out (OWASP, "CSV Injection").
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
# Kept as they are where a name has to be percent-encoded.
_PLAIN = "/ !#$&'()*+,;=@[]{}^`"


def to_csv(rows: Iterable[Sequence[Any]]) -> bytes:
    """Return rows as UTF-8 lines of CSV.

    A text that a spreadsheet would take for a formula gets an apostrophe before it, unless it is a number. Text that
    cannot be UTF-8, as names of files with other bytes, is percent-encoded.
    """
    # Not csv.writer, which leaves a carriage return in a cell unquoted, so that its row ends there.
    return "".join(",".join(_cell(value) for value in row) + "\n" for row in rows).encode()


def read_name(cell: str) -> str:
    """The name that `to_csv` made a cell of."""
    if cell.startswith("'") and cell[1:].startswith(_FORMULAS):
        cell = cell[1:]
    name = unquote(cell, errors="surrogateescape")
    return name if _has_other_bytes(name) else cell


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    if _has_other_bytes(text):
        text = quote_from_bytes(text.encode(errors="surrogateescape"), _PLAIN)
    if text.startswith(_FORMULAS) and not _is_number(text):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if any(letter in text for letter in ',"\r\n') else text


def _has_other_bytes(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()
