"""Reporting on commands over files: a line and a JSON item for each, counts, failures by name, the exit code."""

import os
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dltool.cli.console import Console
from dltool.cli.signals import StopRequest
from dltool.errors import DltoolError
from dltool.images.folder import Job, process_rank, unread_among

if TYPE_CHECKING:
    from dltool.cli.page import OutputPage
    from dltool.images.batch import FileDone, FileStep

_MOST_NAMED = 8


def new_item(job: Job, status: str, error: DltoolError | None = None) -> dict[str, Any]:
    """One entry of the document's `items`; `status` is done, skipped, failed, or planned in a dry run."""
    return {
        "input": job.input,
        "output": job.output,
        "status": status,
        "error": None if error is None else str(error),
        "exit_code": 0 if error is None else error.exit_code,
    }


def say_unread(console: Console, inputs: Sequence[Path], exclude: Path | None = None) -> None:
    """Say how many files of the folders among `inputs` are passed over because of their kind."""
    unread = unread_among(inputs, exclude)
    if unread:
        console.say(f"note: {unread}")


def report_planned(
    console: Console,
    jobs: Sequence[Job],
    settings: dict[str, Any],
    dry_run: bool,
    figures: Callable[[Any], dict[str, Any]] = lambda result: {},
    page: "OutputPage | None" = None,
    **report: Any,
) -> bool:
    """Report a dry run, or that all outputs are there already; False if there is work to do."""
    if not dry_run and not all(job.exists for job in jobs):
        return False
    items = [new_item(job, "skipped" if job.exists else "planned") | figures(None) for job in jobs]
    report_items(console, items, settings, None, page=None if dry_run else page, **report)
    return True


def collect_items(
    events: "Generator[FileStep | FileDone, None, Any]",
    jobs: Sequence[Job],
    show: "Callable[[FileStep | FileDone], Any]",
    figures: Callable[[Any], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Show a batch to its end, and return an item for every file that has come to its own, in the order of the jobs.

    Args:
        figures: what an item says beside the common entries, of a FileDone's result, which may be None.
    """
    from dltool.images.batch import FileDone

    order = {(job.input, job.variant): number for number, job in enumerate(jobs)}
    items: dict[int, dict[str, Any]] = {}
    with closing(events):
        for event in events:
            show(event)
            if isinstance(event, FileDone):
                if event.error is not None and os.environ.get("DLTOOL_DEBUG") == "1":
                    traceback.print_exception(event.error)
                place = order[event.job.input, event.job.variant]
                items[place] = new_item(event.job, event.status, event.error) | figures(event.result)
    return [items[place] for place in sorted(items)]


def report_items(
    console: Console,
    items: list[dict[str, Any]],
    settings: dict[str, Any],
    device: str | None,
    line: Callable[[dict[str, Any]], str] | None = None,
    list_items: bool = True,
    page: "OutputPage | None" = None,
    **fields: Any,
) -> None:
    """Print what became of every file and leave with the exit code: 0, 1 if some failed, or why all failed.

    `line` says a file that did not fail in words; without `list_items` those that failed alone are told, and the
    document has them all; `fields` go into it beside `items` and `counts`. A `page` is made where one process did
    all files.

    Raises:
        typer.Exit: with the code, unless it is 0.
    """
    counts = Counter(item["status"] for item in items)
    codes = {item.pop("exit_code") for item in items}
    for item in items:
        if list_items:
            console.result(_line(item, line))
        if item["status"] == "failed":
            console.warn(f"failed: {item['error']}")
    rank, processes = process_rank()
    share = {"rank": rank, "world_size": processes} if processes > 1 else {}
    if len(items) > 1 or counts["failed"] or share:
        place = f"process {rank} of {processes}: " if share else ""
        console.say(place + (", ".join(f"{count} {status}" for status, count in counts.items()) or "nothing to do"))
    shown = ("done", "skipped", "failed", *(["planned"] if counts["planned"] else []))
    totals = {status: counts[status] for status in shown}
    document = console.document(settings, device, items=items, counts=totals, **share, **fields)
    if page is not None and not share:
        page.offer(console, document)
    if counts["failed"]:
        raise typer.Exit(codes.pop() if len(codes) == 1 else DltoolError.exit_code)


def report_batch(
    console: Console,
    items: list[dict[str, Any]],
    settings: dict[str, Any],
    device: str,
    stop: StopRequest,
    count: int,
    more: str = "; --skip-existing goes on from here",
    **report: Any,
) -> None:
    """Report as `report_items` does, also on a batch of `count` files that was stopped.

    Args:
        more: how to go on after that.

    Raises:
        typer.Exit: with the code, unless it is 0.
    """
    if not stop:
        report_items(console, items, settings, device, **report)
        return
    report.pop("page", None)
    console.warn(f"stopped with {count - len(items)} of {count} pictures not done{more}")
    with suppress(typer.Exit):  # that it was stopped says more than that some failed
        report_items(console, items, settings, device, error="interrupted", **report)
    raise typer.Exit(stop.exit_code)


def left_out(unreadable: Sequence[str]) -> list[str]:
    """Lines about files of a data set that are left out, the first few by name."""
    lines = [f"left out: {text}" for text in unreadable[:_MOST_NAMED]]
    if len(unreadable) > _MOST_NAMED:
        lines.append(f"left out: {len(unreadable) - _MOST_NAMED} more files that cannot be read")
    return lines


def _line(item: dict[str, Any], line: Callable[[dict[str, Any]], str] | None) -> str:
    text = str(item["input"]) if item["output"] is None else f"{item['input']} -> {item['output']}"
    if line is not None and item["status"] != "failed":
        return line(item)
    if item["status"] != "done":
        return f"{text} ({item['status']})"
    details = [f"{item['size'][0]}x{item['size'][1]}"] if "size" in item else []
    details += [f"{item['seconds']:.1f} s"] if "seconds" in item else []
    details += [item["note"]] if "note" in item else []
    return f"{text} ({', '.join(details)})" if details else text
