"""What the user sees: progress and talk on stderr, the result or one JSON document on stdout."""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from dltool import __version__
from dltool.files import printable
from dltool.settings import plain

_LOG_SECONDS = 5.0


class Console:
    """Talks to the user for one run of a command, in the way that --json and --quiet ask for."""

    def __init__(self, command: str, as_json: bool, quiet: bool) -> None:
        """Start the clock of the run; `command` is its name as typed, such as `gan train`."""
        self._command = command
        self._as_json = as_json
        self.quiet = quiet
        self.unreadable: Sequence[str] | None = None  # files of the data that were left out, with the reasons
        self._started = time.perf_counter()
        self._stdout = sys.stdout  # the real one: while progress is shown, sys.stdout leads elsewhere

    def say(self, text: str) -> None:
        """Print a line for people on stderr, unless --quiet."""
        if not self.quiet:
            print(printable(text), file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Print a line about something that went wrong on stderr, even under --quiet."""
        print(f"dltool: {printable(text)}", file=sys.stderr, flush=True)

    def result(self, text: str) -> None:
        """Print a line of the result on stdout, unless --quiet or --json."""
        if not (self.quiet or self._as_json):
            print(printable(text), file=self._stdout, flush=True)

    def document(self, settings: Any, device: str | None, **fields: Any) -> dict[str, Any]:
        """Return the JSON document of the run, as JSON knows values, and print it on stdout if --json asks for it."""
        head = {
            "command": self._command,
            "version": __version__,
            "settings": settings,
            "device": device,
            "seconds": round(time.perf_counter() - self._started, 3),
        }
        if self.unreadable is not None:
            fields.setdefault("unreadable", self.unreadable)
        document = plain(head | fields)
        if self._as_json:
            print(json.dumps(document, indent=2), file=self._stdout, flush=True)
        return document

    @contextmanager
    def progress(self) -> Iterator["Progress"]:
        """A progress display for as long as the context lasts: a bar on a terminal, else a line now and then."""
        # Libraries that print, as torch.hub does about a download, must not reach stdout.
        with redirect_stdout(sys.stderr):
            if self.quiet:
                yield Progress()
            elif sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
                with _Bar() as bar:
                    yield bar
            else:
                yield _Log()


class Progress:
    """A progress display that shows nothing, and the calls that every display has."""

    def update(self, task: str, done: int, total: int, figure: str = "") -> None:
        """Show that `done` of `total` steps of `task` are done; `figure` is the number that matters."""

    def say(self, text: str) -> None:
        """Print a line without spoiling the display."""


class _Log(Progress):
    """Plain lines without escape codes, a few seconds apart."""

    def __init__(self) -> None:
        self._last_time = time.monotonic()

    def update(self, task: str, done: int, total: int, figure: str = "") -> None:
        if time.monotonic() - self._last_time < _LOG_SECONDS:
            return
        self._last_time = time.monotonic()
        self.say(f"{task}: {done}/{total} {figure}".rstrip())

    def say(self, text: str) -> None:
        print(printable(text), file=sys.stderr, flush=True)


class _Bar(Progress):
    """A rich bar: what is being done, steps, rate, time left, and the figure."""

    def __init__(self) -> None:
        from rich import console, progress

        self._bar = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(bar_width=None),
            progress.TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeRemainingColumn(compact=True),
            progress.TextColumn("{task.fields[figure]}"),
            console=console.Console(stderr=True, highlight=False, markup=False),
            transient=True,
            expand=True,
        )
        self._task: int | None = None
        self._name = ""
        self._task_started = 0.0

    def __enter__(self) -> "_Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, task: str, done: int, total: int, figure: str = "") -> None:
        if task != self._name:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(_shorten(task), total=total, figure="", rate="")
            self._name, self._task_started = task, time.monotonic()
        elapsed = time.monotonic() - self._task_started
        rate = f"{done / elapsed:.1f}/s" if elapsed > 0.5 else ""
        self._bar.update(self._task, completed=done, total=total, figure=figure, rate=rate)

    def say(self, text: str) -> None:
        self._bar.console.print(printable(text), soft_wrap=True)


def _shorten(text: str, width: int = 32) -> str:
    text = printable(text)
    return text if len(text) <= width else "…" + text[1 - width :]
