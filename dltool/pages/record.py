"""What a command over files did in a folder, kept for its page: the document that it reported, beside the page."""

import json
from pathlib import Path
from typing import Any

from dltool.errors import DataError
from dltool.files import write_atomically
from dltool.images.folder import PAGE_FOLDER
from dltool.pages.run_files import find_recorded, read_json

RECORD = f"{PAGE_FOLDER}/results.json"


def keep_record(folder: Path, document: dict[str, Any]) -> None:
    """Keep what was done in a folder, and what earlier runs of the same command did there and is still there.

    Raises:
        DltoolError: it cannot be written.
    """
    path = folder / RECORD
    try:
        before = read_json(path)
    except DataError:
        before = {}  # damaged: what it told is lost
    items = list(document["items"])
    if before.get("command") == document["command"]:
        new = {item["output"] for item in items if item["status"] != "skipped"}
        kept = [item for item in before["items"] if item["output"] not in new and find_recorded(folder, item["output"])]
        # An output that was left as it is was made before: what was said of it then says more.
        known = {item["output"] for item in kept}
        items = [*kept, *(item for item in items if item["output"] not in known)]
    write_atomically(path, (json.dumps(document | {"items": items}, indent=2) + "\n").encode())
