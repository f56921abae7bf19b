"""What `finetune`, `ae train` and `gan train` share on the command line: a run from its start to its end."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from dltool.cli.console import Console, Progress
from dltool.cli.signals import StopRequest, stop_requests

if TYPE_CHECKING:
    from dltool.training.surroundings import Surroundings

_Settings = TypeVar("_Settings")
# Settings of the data whose option is called otherwise, and those that are paths.
_OPTIONS = {"splits_file": "splits", "root": "data_root"}
_PATHS = ("splits_file", "root")


@dataclass(frozen=True)
class RunPlace:
    """What a training command was told about places rather than about the model; `given` are the options typed."""

    source: str
    output: Path
    resume: bool
    overwrite: bool
    device: str
    threads: int | None
    workers: int
    given: frozenset[str]


class RunWatcher:
    """Turns the events of a run into progress and lines for people: a method `_Name` for each event `Name`.

    By the type's name, so that nothing of torch is imported for it.
    """

    leave_after: ClassVar[tuple[str, ...]] = ("Checked", "Stopped")

    def __init__(self, progress: Progress, quiet: bool) -> None:
        self.result: Any = None
        self._progress = progress
        self._quiet = quiet

    def show(self, event: Any) -> None:
        """Handle one event."""
        handler = getattr(self, f"_{type(event).__name__}", None)
        if handler is not None:
            handler(event)

    def watch(self, events: Iterator[Any], stop: StopRequest) -> Any:
        """Show what happens until the run ends, and return its result; None if it was stopped."""
        with closing(events):  # type: ignore[type-var]
            for event in events:
                self.show(event)
                # Here a run may be left without a checkpoint of its own: before training, or once it has stopped.
                if stop and type(event).__name__ in self.leave_after:
                    return None
        return self.result

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._progress.say(text)

    def _Checked(self, event: Any) -> None:  # noqa: N802 (named after the event)
        self._progress.update("checking the data", event.done, event.total)

    def _Notice(self, event: Any) -> None:  # noqa: N802
        self._say(event.text)


def stored_settings(
    place: RunPlace, settings: _Settings, from_plain: Callable[[dict[str, Any]], _Settings], data_values: dict[str, Any]
) -> tuple[_Settings, dict[str, Any]]:
    """A resumed run's own settings, where nothing else was typed; what was typed is compared with them later.

    Raises:
        SettingsError: there is no run to resume.
    """
    from dltool.training.run_folder import RunFolder

    config = RunFolder(place.output).read_config()
    typed = {name: getattr(settings, name) for name in vars(settings) if name in place.given}
    for name, value in config["data"].items():
        if name in data_values and _OPTIONS.get(name, name) not in place.given:
            data_values[name] = Path(value) if name in _PATHS and value is not None else value
    return replace(from_plain(config["settings"]), **typed), data_values  # type: ignore[type-var]


def run_training(
    console: Console,
    place: RunPlace,
    train: Callable[["Surroundings", Console, Progress, StopRequest], Any],
    cache: bool = False,
) -> tuple[Any, str] | None:
    """Choose the device, make the surroundings, train, and leave in order when asked to stop.

    Args:
        train: returns the run's result, or None if it was stopped or has reported itself.
        cache: let it keep what other runs can use.

    Returns:
        The result and the device in words, in the first process; None if there is nothing to report.
    """
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading", 0, 1)
        from dltool.data.store import default_cache
        from dltool.device import describe_device, select_device, set_threads
        from dltool.training import distributed
        from dltool.training.run_folder import RunFolder
        from dltool.training.surroundings import Surroundings

        set_threads(place.threads)
        device = distributed.local_device(select_device(place.device))
        with distributed.process_group(device):
            first = distributed.rank() == 0
            run = RunFolder(place.output)
            if first and not place.resume:
                run.check(place.overwrite)
            if not first:
                console, progress = Console("", as_json=False, quiet=True), Progress()
            around = Surroundings(
                device=device,
                run=run,
                cache=default_cache() if cache else None,
                workers=place.workers,
                should_stop=lambda: bool(stop),
                resume=place.resume,
                overwrite=place.overwrite,
            )
            try:
                result = train(around, console, progress, stop)
            except BaseException:
                run.discard_unstarted()
                raise
        if stop and result is None:
            if run.checkpoint.is_file() and (place.resume or run.is_created):
                console.warn(f"stopped; {run.path.resolve()} holds what is done, --resume goes on from here")
            else:
                run.discard_unstarted()
                lost = ", what was computed is kept in the cache" if cache else ""
                console.warn(f"stopped; nothing was trained yet{lost}")
            stop.leave()
    return (result, describe_device(device)) if result is not None and first else None
