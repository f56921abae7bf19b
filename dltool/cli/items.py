"""Reporting on commands over files: a line and a JSON item for each, counts, failures by name, the exit code."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import typer

from dltool.cli.console import Console
from dltool.errors import DltoolError
from dltool.images.folder import Job, process_rank


def new_item(job: Job, status: str, error: DltoolError | None = None) -> dict[str, Any]:
    """One entry of the document's `items`; `status` is done, skipped, failed, or planned in a dry run."""
    return {
        "input": job.input,
        "output": job.output,
        "status": status,
        "error": None if error is None else str(error),
        "exit_code": 0 if error is None else error.exit_code,
    }


def report_items(
    console: Console,
    items: list[dict[str, Any]],
    settings: dict[str, Any],
    device: str | None,
    line: Callable[[dict[str, Any]], str] | None = None,
    list_items: bool = True,
    **fields: Any,
) -> None:
    """Print what became of every file and leave with the exit code: 0, 1 if some failed, or why all failed.

    `line` says an item in words; without `list_items` those that failed alone are told, and the document has them
    all; `fields` go into it beside `items` and `counts`.

    Raises:
        typer.Exit: with the code, unless it is 0.
    """
    counts = Counter(item["status"] for item in items)
    codes = {item.pop("exit_code") for item in items}
    for item in items:
        if list_items:
            console.result((line or _line)(item))
        if item["status"] == "failed":
            console.warn(f"failed: {item['error']}")
    rank, processes = process_rank()
    share = {"rank": rank, "world_size": processes} if processes > 1 else {}
    if len(items) > 1 or counts["failed"] or share:
        place = f"process {rank} of {processes}: " if share else ""
        console.say(place + (", ".join(f"{count} {status}" for status, count in counts.items()) or "nothing to do"))
    shown = ("done", "skipped", "failed", *(["planned"] if counts["planned"] else []))
    totals = {status: counts[status] for status in shown}
    console.document(settings, device, items=items, counts=totals, **share, **fields)
    if counts["failed"]:
        raise typer.Exit(codes.pop() if len(codes) == 1 else DltoolError.exit_code)


def _line(item: dict[str, Any]) -> str:
    text = f"{item['input']} -> {item['output']}"
    if item["status"] != "done":
        return f"{text} ({item['status']})"
    details = [f"{item['size'][0]}x{item['size'][1]}"] if "size" in item else []
    details += [f"{item['seconds']:.1f} s"] if "seconds" in item else []
    details += [item["note"]] if "note" in item else []
    return f"{text} ({', '.join(details)})" if details else text
