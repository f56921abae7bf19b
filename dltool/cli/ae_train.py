"""`dltool ae train`: a folder of images in, an autoencoder or a denoiser out."""

from functools import partial
from typing import Any

import typer

from dltool.autoencoder.data import Loaded, load_images
from dltool.autoencoder.noise_laws import parse_noise
from dltool.autoencoder.plan import describe_steps, learns_crops, plan_training
from dltool.autoencoder.settings import AeSettings, ImageData
from dltool.autoencoder.train import AeResult, Prepared, describe_epoch, train_autoencoder
from dltool.cli.console import Console, Progress
from dltool.cli.options import Machine, RunPlace
from dltool.cli.page import offer_page
from dltool.cli.training import Watcher, describe_data, report_run, run_training, stored_settings
from dltool.errors import DltoolError
from dltool.events import finish
from dltool.outputs import files_read
from dltool.settings import Typed, as_plain
from dltool.training.events import EpochEnd
from dltool.training.run_folder import RunFolder


def run(
    console: Console, typed: Typed, settings: AeSettings, data: ImageData, place: RunPlace, machine: Machine
) -> None:
    """Train, or say what would be trained."""
    if place.resume:
        settings, data = stored_settings(place, settings, data, typed)
    typed.refuse(settings.without_effect() | data.without_effect() | place.without_effect())
    if place.dry_run:
        machine.check()
        _show_dry_run(console, typed, settings, data, place, machine)
        return
    watcher = partial(_AeWatcher, typed=typed, settings=settings)
    start = partial(train_autoencoder, data, settings)
    done = run_training(console, place, machine, start, watcher, files_read(data, settings))
    if done is not None:
        _report(console, RunFolder(place.output), *done)
        offer_page(console, place.output, place)
        health = done[0].health
        if health is not None and health.verdict is not None:
            console.warn(health.verdict)
            raise typer.Exit(DltoolError.exit_code)


class _AeWatcher(Watcher):
    def __init__(self, progress: Progress, quiet: bool, typed: Typed, settings: AeSettings) -> None:
        super().__init__(progress, quiet)
        self._typed = typed
        self._settings = settings

    def show(self, event: Any) -> None:
        match event:
            case Loaded():
                self._typed.refuse(self._settings.without_effect(learns_crops(self._settings, event)))
                for line in describe_data(event):
                    self.say(line)
            case Prepared():
                self.say(event.line)
            case EpochEnd():
                self._show_epoch(event)
            case _:
                super().show(event)

    def _show_epoch(self, event: EpochEnd) -> None:
        few = event.epochs <= 20 or event.epoch % max(1, event.epochs // 20) == 0 or event.epoch == event.epochs
        if event.epoch == 0 or not few:
            return
        self.say(describe_epoch(event))


def _report(console: Console, folder: RunFolder, result: AeResult, device: str) -> None:
    """Results into the run's folder and on stdout."""
    console.unreadable = result.data.unreadable
    settings = as_plain(result.settings) | {"precision": result.precision}
    report_run(console, folder.path, settings, device, result.figures)
    for line in result.lines:
        console.result(line)
    console.result(f"model {folder.model}")
    if result.health is not None:
        for note in result.health.notes:
            console.warn(note)


def _show_dry_run(
    console: Console, typed: Typed, settings: AeSettings, data: ImageData, place: RunPlace, machine: Machine
) -> None:
    """Look at the data and say what would be trained and written."""
    parse_noise(settings.noise)
    if not place.resume:
        RunFolder(place.output).check(place.overwrite, files_read(data, settings))
    with console.progress() as progress:
        watcher = Watcher(progress, console.quiet)
        workers = machine.reading_threads
        loaded = finish(load_images(data, workers, 0, settings, place.output), watcher.show)
    typed.refuse(settings.without_effect(learns_crops(settings, loaded)))
    for line in describe_data(loaded):
        console.result(line)
    plan = plan_training(settings, loaded)
    console.result(f"would train {describe_steps(plan.settings, plan.samples, plan.steps)}")
    console.result(f"would write {place.output}/ (dry run: nothing is written)")
    counts = {name: len(split) for name, split in loaded.splits.items()}
    console.document(
        as_plain(settings), None, run=place.output, counts=counts, unreadable=loaded.unreadable, steps=plan.all_steps
    )
