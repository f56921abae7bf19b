"""`dltool gan train`: a folder of images in, a generator of more out."""

from functools import partial
from typing import Any

from dltool.cli.console import Console, Progress
from dltool.cli.options import Machine, RunPlace
from dltool.cli.page import offer_page
from dltool.cli.training import Watcher, describe_data, report_run, run_training, stored_settings
from dltool.data.settings import DataSettings
from dltool.events import finish
from dltool.gan.data import load_images
from dltool.gan.loop import GanEpochEnd, GanStepEnd
from dltool.gan.settings import GanSettings
from dltool.gan.train import Decided, GanResult, decide_settings, train_gan
from dltool.outputs import files_read
from dltool.settings import Typed, as_plain
from dltool.training.run_folder import RunFolder


def run(
    console: Console, typed: Typed, settings: GanSettings, data: DataSettings, place: RunPlace, machine: Machine
) -> None:
    """Train, or say what would be trained."""
    if place.resume:
        settings, data = stored_settings(place, settings, data, typed)
    for line in typed.refuse(settings.without_effect() | data.without_effect() | place.without_effect()):
        console.say(f"note: {line}")
    if place.dry_run:
        machine.check()
        _show_dry_run(console, typed, settings, data, place)
        return
    watcher = partial(_GanWatcher, typed=typed)
    start = partial(train_gan, data, settings)
    done = run_training(console, place, machine, start, watcher, files_read(data, settings))
    if done is not None:
        _report(console, RunFolder(place.output), *done)
        offer_page(console, place.output, place)


class _GanWatcher(Watcher):
    ends_epoch = GanEpochEnd

    def __init__(self, progress: Progress, quiet: bool, typed: Typed) -> None:
        super().__init__(progress, quiet)
        self._typed = typed
        self._seconds: float | None = None

    def show(self, event: Any) -> None:
        match event:
            case Decided():
                self._typed.refuse(event.settings.without_effect(len(event.data)))
                self._seconds = event.settings.time
                for line in [*describe_data(event.data), event.line]:
                    self.say(line)
            case GanStepEnd():
                done, total = (event.epoch - 1) * event.steps + event.step, event.epochs * event.steps
                if self._seconds is not None:
                    done, total = round(event.progress * self._seconds), round(self._seconds)
                self._progress.update("training", done, total, f"g {event.g_loss:.3f} d {event.d_loss:.3f}")
            case GanEpochEnd():
                self._show_epoch(event)
            case _:
                super().show(event)

    def _show_epoch(self, event: GanEpochEnd) -> None:
        few = event.epochs <= 12 or event.epoch % max(1, event.epochs // 10) == 0 or event.epoch == event.epochs
        if few or event.figure is not None:
            self.say(event.describe(timed=self._seconds is not None))


def _report(console: Console, folder: RunFolder, result: GanResult, device: str) -> None:
    """Results into the run's folder and on stdout."""
    console.unreadable = result.decided.data.unreadable
    settings = as_plain(result.decided.settings) | {"precision": "bf16" if result.decided.bf16 else "fp32"}
    report_run(console, folder.path, settings, device, result.figures)
    console.result(result.line)
    console.result(f"model {folder.model}")


def _show_dry_run(console: Console, typed: Typed, settings: GanSettings, data: DataSettings, place: RunPlace) -> None:
    """Look at the data and say what would be trained and written."""
    if not place.resume:
        RunFolder(place.output).check(place.overwrite, files_read(data, settings))
    with console.progress() as progress:
        watcher = Watcher(progress, console.quiet)
        (found,) = finish(load_images(data, settings.size, 0, exclude=place.output), watcher.show)
    typed.refuse(settings.without_effect(len(found)))
    settings, _ = decide_settings(settings, found)
    for line in describe_data(found):
        console.result(line)
    console.result(f"would train {settings.arch} for {settings.epochs} epochs")
    console.result(f"would write {place.output}/ (dry run: nothing is written)")
    console.document(as_plain(settings), None, run=place.output, data=found.facts)
