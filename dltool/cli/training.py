"""What the training commands share on the command line: a run from its start to its end, for those who watch."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from dltool.cli.console import Console, Progress
from dltool.cli.items import left_out
from dltool.cli.options import Machine, RunOutput
from dltool.cli.page import WatchedPage
from dltool.cli.signals import StopRequest, stop_requests
from dltool.data.check import Checked
from dltool.data.features import Extracted
from dltool.data.load import DataReport
from dltool.data.settings import DataSettings
from dltool.data.store import default_cache
from dltool.device import describe_device, select_device, set_threads
from dltool.errors import SettingsError
from dltool.settings import Typed
from dltool.training import distributed
from dltool.training.context import RunContext
from dltool.training.events import EpochEnd, Notice, StepEnd, Stopped
from dltool.training.run_folder import RunFolder

_Settings = TypeVar("_Settings")
_Result = TypeVar("_Result")
_Data = TypeVar("_Data", bound=DataSettings)


class Watcher:
    """Turns the events of a run into progress and lines for people; each command adds its own events.

    Attributes:
        leaves_at: events at which a run may be left on request, because nothing is lost: while the data is looked
            at, or once training has stopped by itself.
        ends_epoch: the event after which a run's files hold one more epoch.
    """

    leaves_at: ClassVar[tuple[type, ...]] = (Checked, Stopped)
    ends_epoch: ClassVar[type] = EpochEnd

    def __init__(self, progress: Progress, quiet: bool) -> None:
        self._progress = progress
        self._quiet = quiet

    def show(self, event: Any) -> None:
        """Show what every run has: the data's check, features, steps, notices."""
        match event:
            case StepEnd():
                done, total = (event.epoch - 1) * event.steps + event.step, event.epochs * event.steps
                place = f" ({event.phase})" if event.phase else f", step {done} of {total}"
                self._progress.update(f"training{place}", done, total, f"loss {event.loss:.5f}")
            case Checked():
                self._progress.update("checking the data", event.done, event.total)
            case Extracted():
                self._progress.update("computing features", event.done, event.total)
            case Notice():
                self.say(event.text)

    def say(self, text: str) -> None:
        """Print a line, unless --quiet."""
        if not self._quiet:
            self._progress.say(text)


def follow(
    events: Generator[Any, None, _Result],
    show: Callable[[Any], None],
    stop: StopRequest | None = None,
    leaves_at: tuple[type, ...] = Watcher.leaves_at,
) -> _Result | None:
    """Show what happens until the end and return the result; None if it was left on request, at such an event."""
    with closing(events):
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return end.value
            show(event)
            if stop and isinstance(event, leaves_at):
                return None


def stored_settings(place: RunOutput, settings: _Settings, data: _Data, typed: Typed) -> tuple[_Settings, _Data]:
    """A resumed run's own settings, where nothing else was typed; what was typed is compared with them later.

    Raises:
        SettingsError: there is no run to resume, or it was to give way as well.
    """
    typed.refuse({"overwrite": "with --resume, which goes on with what is there"})
    run = RunFolder(place.output)
    config = run.read_config()
    chosen = {name: getattr(settings, name) for name in vars(settings) if name in typed}
    stored = {n: v for n, v in config["data"].items() if n in vars(data) and n not in typed}
    try:
        restored, data = type(settings)(**config["settings"]), replace(data, **stored)
    except (TypeError, ValueError, AttributeError, KeyError, SettingsError) as error:
        raise SettingsError(run.damaged(run.path / "config.json")) from error
    return replace(restored, **chosen), data  # type: ignore[type-var]


def run_training(
    console: Console,
    place: RunOutput,
    machine: Machine,
    start: Callable[[RunContext], Generator[Any, None, _Result]],
    watcher: Callable[[Progress, bool], Watcher],
    read: Sequence[Path],
    cache: bool = False,
    nothing: str = "nothing was trained yet",
) -> tuple[_Result, str] | None:
    """Choose the device, make the context, train, and leave in order when asked to stop.

    Args:
        start: begins the run; its generator returns the result, or None if it was stopped.
        read: files and folders that the run reads.
        cache: let it keep what other runs can use.
        nothing: said of a run that was stopped and leaves nothing to go on with.

    Returns:
        The result and the device in words, in the first process; None if there is nothing to report.
    """
    set_threads(machine.threads)
    device = select_device(machine.device, machine.deterministic)
    run = RunFolder(place.output)
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading", 0, 1)
        with distributed.process_group(device):
            first = distributed.rank() == 0
            if first and place.resume:
                run.refuse_busy()
            elif first:
                run.check(place.overwrite, read)
            context = RunContext(
                device=device,
                run=run,
                cache=default_cache() if cache else None,
                workers=machine.threads_beside(device),
                should_stop=lambda: bool(stop),
                resume=place.resume,
                overwrite=place.overwrite,
            )
            seen = watcher(progress, console.quiet) if first else watcher(Progress(), True)
            page = WatchedPage(progress, place.output) if first and getattr(place, "watch_page", False) else None
            try:
                result = follow(start(context), _showing(console, seen, page), stop, seen.leaves_at)
            except BaseException:
                run.discard_unstarted()
                raise
        if stop and result is None:
            nothing += ", what was computed is kept in the cache" if cache else ""
            _leave(console, run, place.resume, nothing, stop)
    return (result, describe_device(device)) if result is not None and first else None


def _showing(console: Console, seen: Watcher, page: WatchedPage | None) -> Callable[[Any], None]:
    """Show events, and make the page of the run that is under way after each epoch."""

    def show(event: Any) -> None:
        seen.show(event)
        if isinstance(event, DataReport):
            console.unreadable = event.unreadable
        if page is not None and isinstance(event, seen.ends_epoch):
            page.update()

    return show


def _leave(console: Console, run: RunFolder, resumed: bool, nothing: str, stop: StopRequest) -> None:
    if run.checkpoint.is_file() and (resumed or run.is_created):
        console.warn(f"stopped; {run.path.resolve()} holds what is done, --resume goes on from here")
    else:
        run.discard_unstarted()
        console.warn(f"stopped; {nothing}")
    stop.leave()


def report_run(console: Console, output: Path, settings: dict[str, Any], device: str, figures: dict[str, Any]) -> None:
    """The document of a training that is done, on stdout and in the run's folder."""
    run = RunFolder(output)
    document = console.document(settings, device, run=run.path, model=run.model, **figures)
    run.write_json("results.json", document)


def describe_data(data: Any) -> list[str]:
    """Lines for people: what a data set is, and what its check found."""
    return [data.line, *describe_findings(data.notes, data.unreadable)]


def describe_findings(notes: Sequence[str], unreadable: Sequence[str]) -> list[str]:
    """Lines about what the data's check found: notes, and the files that are left out."""
    return [f"  note: {note}" for note in notes] + [f"  {line}" for line in left_out(unreadable)]
