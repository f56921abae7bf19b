"""`manifest.json`: what each image that featmap wrote shows, beside the images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dltool import __version__
from dltool.errors import DataError
from dltool.files import locked, write_atomically

MANIFEST_VERSION = 1


def write_manifest(path: Path, network: dict[str, Any], entries: Sequence[dict[str, Any]]) -> None:
    """Write the entries, and keep those of an earlier run, or of another process that shares the work, whose outputs
    these do not replace and that still exist.

    Args:
        network: what was looked into: name, weights, size.
        entries: one per written file: `output`, `input`, `layer`, `shape`, `method`, `class`, `score`, …

    Raises:
        DataError: a file of that name is there and is no manifest.
        DltoolError: the file cannot be written.
    """
    replaced = {str(entry["output"]) for entry in entries}
    new = [{**entry, **network, "output": str(entry["output"]), "input": _text(entry["input"])} for entry in entries]
    with locked(path):
        kept = [
            entry
            for entry in read_entries(path)
            if str(entry.get("output")) not in replaced and Path(str(entry.get("output"))).exists()
        ]
        document = {"version": MANIFEST_VERSION, "dltool": __version__, "pictures": [*kept, *new]}
        write_atomically(path, json.dumps(document, indent=2).encode() + b"\n")


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
