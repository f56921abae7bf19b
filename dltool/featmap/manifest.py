"""`manifest.json`: what each image that featmap wrote shows, beside the images."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dltool import __version__, outputs
from dltool.errors import DataError, DltoolError
from dltool.files import locked, write_atomically

MANIFEST_VERSION = 1


def write_manifest(path: Path, network: dict[str, Any], entries: Sequence[dict[str, Any]]) -> None:
    """Write the entries, and keep those of an earlier run, or of another process that shares the work, whose outputs
    these do not replace and that still exist. Without entries, now or noted, nothing is written.

    Args:
        network: what was looked into: name, weights, size.
        entries: one per written file: `output`, `input`, `layer`, `shape`, `method`, `class`, `score`, …

    Raises:
        DataError: a file of that name is there and is no manifest.
        DltoolError: the file cannot be written.
    """
    if not entries and not _notes(path).is_file():
        return
    replaced = {str(entry["output"]) for entry in entries}
    with locked(path):
        older = {str(entry.get("output")): entry for entry in [*read_entries(path), *_noted(path)]}
        kept = [entry for output, entry in older.items() if output not in replaced and Path(output).exists()]
        new = _described(network, entries)
        document = {"version": MANIFEST_VERSION, "dltool": __version__, "pictures": [*kept, *new]}
        write_atomically(path, json.dumps(document, indent=2).encode() + b"\n")
        _notes(path).unlink(missing_ok=True)


def note_entries(path: Path, network: dict[str, Any], entries: Sequence[dict[str, Any]]) -> None:
    """Keep the entries of files that have just been written, until `write_manifest` at the run's end.

    What was noted by a run that was killed is found by the one that goes on.

    Raises:
        DltoolError: they cannot be kept.
    """
    lines = "".join(json.dumps(entry) + "\n" for entry in _described(network, entries))
    with locked(path):
        try:
            outputs.record(_notes(path))
            with _notes(path).open("a", encoding="ascii") as file:
                file.write(lines)
        except OSError as error:
            raise DltoolError(f"{_notes(path)}: cannot be written ({error.strerror})") from error


def is_noted(path: Path) -> Callable[[Path], bool]:
    """What tells whether the manifest, or what was noted for it, has an entry for a file.

    Raises:
        DataError: a file of the manifest's name is there and is no manifest.
    """
    known = {os.path.realpath(str(entry.get("output"))) for entry in [*read_entries(path), *_noted(path)]}
    return lambda output: os.path.realpath(output) in known


def _notes(path: Path) -> Path:
    return path.with_name(f".{path.name}l")


def _noted(path: Path) -> list[dict[str, Any]]:
    """What was noted and is in no manifest; a line that was cut short is left out."""
    if not _notes(path).is_file():
        return []
    entries = []
    for line in _notes(path).read_text(encoding="ascii", errors="replace").splitlines():
        with suppress(ValueError):
            entries.append(json.loads(line))
    return [entry for entry in entries if isinstance(entry, dict)]


def _described(network: dict[str, Any], entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**entry, **network, "output": str(entry["output"]), "input": _text(entry["input"])} for entry in entries]


def read_entries(path: Path) -> list[dict[str, Any]]:
    """The entries of a manifest that is there; none where it is not.

    Raises:
        DataError: a file of that name is there and is no manifest.
    """
    if not path.exists():
        return []
    try:
        return list(json.loads(path.read_text())["pictures"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a manifest of dltool featmap; move it away or choose another -o") from error


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
