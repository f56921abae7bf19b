"""`dltool style train`: paintings in, a network out that paints any image like them in one pass."""

from functools import partial
from typing import Any

from dltool.cli.console import Console
from dltool.cli.options import Machine, RunOutput
from dltool.cli.training import Watcher, report_run, run_training, stored_settings
from dltool.instant.settings import InstantSettings, TrainingPhotos
from dltool.instant.train import Prepared, describe_epoch, train_style
from dltool.outputs import files_read
from dltool.settings import Typed, as_plain
from dltool.training.events import EpochEnd
from dltool.training.run_folder import RunFolder


def run(
    console: Console, typed: Typed, settings: InstantSettings, data: TrainingPhotos, place: RunOutput, machine: Machine
) -> None:
    """Train, or say what would be trained."""
    if place.resume:
        settings, data = stored_settings(place, settings, data, typed)
    settings.expect_paintings()
    typed.refuse(data.without_effect())
    read = files_read(data, settings)
    if place.dry_run:
        machine.check()
        if not place.resume:
            RunFolder(place.output).check(place.overwrite, read)
        console.result(f"would train {len(settings.paintings)} style(s) for {settings.steps} steps")
        console.result(f"would write {place.output}/ (dry run: nothing is written)")
        console.document(as_plain(settings), None, run=place.output)
        return
    done = run_training(console, place, machine, partial(train_style, data, settings), _StyleWatcher, read)
    if done is not None:
        result, device = done
        console.unreadable = result.data.unreadable
        report_run(console, place.output, as_plain(settings), device, result.figures)
        for model in result.models:
            console.result(f"model {model}")


class _StyleWatcher(Watcher):
    def show(self, event: Any) -> None:
        match event:
            case Prepared():
                self.say(event.line)
            case EpochEnd() if event.epoch:  # before the first there is no loss
                self.say(describe_epoch(event))
            case _:
                super().show(event)
