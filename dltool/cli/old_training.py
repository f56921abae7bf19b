"""What `finetune`, `ae train` and `gan train` share on the command line: a run from its start to its end."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dltool.cli.console import Console, Progress
from dltool.cli.signals import StopRequest, stop_requests

if TYPE_CHECKING:
    from dltool.training.context import RunContext

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


def stored_settings(
    place: RunPlace, settings: _Settings, data_values: dict[str, Any]
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
    return replace(type(settings)(**config["settings"]), **typed), data_values  # type: ignore[type-var]


def run_training(
    console: Console,
    place: RunPlace,
    train: Callable[["RunContext", Console, Progress, StopRequest], Any],
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
        from dltool.training.context import RunContext
        from dltool.training.run_folder import RunFolder

        set_threads(place.threads)
        device = select_device(place.device)
        with distributed.process_group(device):
            first = distributed.rank() == 0
            run = RunFolder(place.output)
            if first and not place.resume:
                run.check(place.overwrite)
            if not first:
                console, progress = Console("", as_json=False, quiet=True), Progress()
            context = RunContext(
                device=device,
                run=run,
                cache=default_cache() if cache else None,
                workers=place.workers,
                should_stop=lambda: bool(stop),
                resume=place.resume,
                overwrite=place.overwrite,
            )
            try:
                result = train(context, console, progress, stop)
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
