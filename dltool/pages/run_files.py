"""Reading the files of a run, as other runs of dltool wrote them or as people left them."""

import csv
import json
from pathlib import Path
from typing import Any

from dltool.errors import DataError
from dltool.tables import read_name


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one if there is no such file.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: damaged (no JSON object)")
    return content


def read_history(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`, an epoch each; none if there is no such file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: damaged ({error})") from error


def read_table(path: Path, *columns: str) -> list[dict[str, str]]:
    """The rows of a CSV file that dltool wrote, by column; none if there is no such file.

    Raises:
        DataError: it cannot be read, or a row lacks one of `columns`.
    """
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = [{name: _text(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: damaged ({error})") from error
    for number, row in enumerate(rows, start=2):
        if any(row.get(column) is None for column in columns):
            raise DataError(f"{path}: line {number} lacks one of {', '.join(columns)}")
    return rows


def _text(cell: Any) -> str | None:
    return read_name(cell) if isinstance(cell, str) else None


def find_recorded(folder: Path, recorded: str) -> Path | None:
    """A file of the run that was recorded as typed, such as `out/a/b.png`, in its folder wherever that is now."""
    parts = Path(recorded).parts
    for start in range(len(parts)):
        found = folder.joinpath(*parts[start:])
        if found.is_relative_to(folder) and ".." not in parts[start:] and found.is_file():
            return found
    return None
