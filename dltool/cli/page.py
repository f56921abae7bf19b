"""`dltool page`: the page of a run, made or made again; and how other commands make theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltool.cli.console import Console, Progress
from dltool.errors import DltoolError
from dltool.events import finish
from dltool.images.folder import Job
from dltool.pages.record import keep_record
from dltool.pages.settings import PageChoice, PageTask
from dltool.pages.write import has_page, write_page
from dltool.settings import Typed


def run(console: Console, typed: Typed, task: PageTask) -> None:
    """Make the page of a folder that dltool wrote."""
    path = _write(console, task.run, task.single_file)
    console.result(f"page {path}")
    console.document({"single_file": task.single_file}, None, run=task.run, page=path)


def offer_page(console: Console, run: Path, choice: PageChoice) -> None:
    """Make the page of a run that is done; one that cannot be made is a warning, for the run is none the worse."""
    if choice.no_page:
        return
    try:
        console.say(f"page {_write(console, run)}")
    except Exception as error:  # whatever a page stumbles over, the run's results are there
        _warn(console, run, error)


@dataclass(frozen=True)
class OutputPage:
    """The page of a folder of results.

    Attributes:
        keeps: the document that is reported is kept beside the page, because nothing else says what was done.
    """

    folder: Path
    choice: PageChoice
    keeps: bool = True

    def offer(self, console: Console, document: dict[str, Any]) -> None:
        """Keep the document and make the page, unless it is not wanted, or is there and nothing is new."""
        nothing_new = {item["status"] for item in document.get("items", ())} == {"skipped"}
        if self.choice.no_page or not self.folder.is_dir() or (nothing_new and has_page(self.folder)):
            return
        try:
            if self.keeps:
                keep_record(self.folder, document)
        except DltoolError as error:
            _warn(console, self.folder, error)
            return
        offer_page(console, self.folder, self.choice)


def output_page(output: Path, jobs: Sequence[Job], choice: PageChoice, always: bool = False) -> OutputPage | None:
    """The page of what `jobs` write: where it is several results in a folder, or where the folder has a page already.

    Args:
        always: one result in a folder has a page, too.
    """
    if any(job.output == output for job in jobs):
        return None
    several = always or len(jobs) > 1 or has_page(output)
    return OutputPage(output, choice) if several else None


def _warn(console: Console, run: Path, error: Exception) -> None:
    reason = str(error) if isinstance(error, DltoolError) else f"{type(error).__name__}: {error}"
    console.warn(f"no page of {run}: {reason}")


def _write(console: Console, run: Path, single_file: bool = False) -> Path:
    with console.progress() as progress:
        return finish(
            write_page(run, single_file), lambda step: progress.update("making the page", step.done, step.total)
        )


class WatchedPage:
    """The page of a run that is under way, made anew after its epochs until it cannot be made."""

    def __init__(self, progress: Progress, run: Path) -> None:
        self._progress = progress
        self._run = run
        self._works = True

    def update(self) -> None:
        """Make the page of what is there; the first that cannot be made is a warning, and the last that is tried."""
        if not self._works:
            return
        try:
            finish(write_page(self._run, watch=True))
        except Exception as error:  # whatever a page stumbles over, the training goes on
            self._works = False
            self._progress.say(f"no page of {self._run}: {error}")
