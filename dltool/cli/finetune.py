"""`dltool finetune`: class folders in, a classifier out, and the reason why it was trained that way."""

from functools import partial
from typing import Any

from dltool.cli.console import Console
from dltool.cli.options import Machine, RunPlace
from dltool.cli.page import offer_page
from dltool.cli.training import Watcher, describe_data, follow, report_run, run_training, stored_settings
from dltool.data.features import Extracted
from dltool.data.load import DataReport
from dltool.data.settings import LabelledData
from dltool.device import set_threads
from dltool.errors import SettingsError
from dltool.finetune.compare import CompareRow, compare_strategies, comparison_table, without_effect, write_chart
from dltool.finetune.continuation import find_continuation
from dltool.finetune.linear_head import HeadFit
from dltool.finetune.preview import write_preview
from dltool.finetune.report import (
    class_table,
    describe_accuracy,
    describe_epoch,
    describe_held_out,
    parameter_table,
    write_predictions,
    write_report,
)
from dltool.finetune.settings import SMALL_NETWORKS, FinetuneSettings, FinetuneTask
from dltool.finetune.train import MAY_CHANGE, Decided, FinetuneResult, PhaseStart, finetune, load_labelled
from dltool.images.folder import process_rank
from dltool.outputs import check_file, files_read
from dltool.settings import Typed, as_plain
from dltool.training.events import EpochEnd
from dltool.training.run_folder import RunFolder


def run(
    console: Console,
    typed: Typed,
    settings: FinetuneSettings,
    task: FinetuneTask,
    data: LabelledData,
    place: RunPlace,
    machine: Machine,
) -> None:
    """Train a classifier, or say what would be trained, draw the augmentations, or compare ways of training."""
    if place.resume:
        settings, data = stored_settings(place, settings, data, typed)
    _refuse_unused(console, typed, settings, task, data, place)
    if place.dry_run:
        machine.check(None if settings.backbone in ("", *SMALL_NETWORKS) else settings.backbone)
        _show_dry_run(console, place, settings, data, machine)
        return
    if task.preview_augment:
        _preview(console, place, settings, data, machine)
        return
    start = partial(compare_strategies if task.compare else finetune, data, settings)
    nothing = "nothing was compared" if task.compare else "nothing was trained yet"
    done = run_training(
        console, place, machine, start, _FinetuneWatcher, files_read(data, settings), not task.no_cache, nothing
    )
    if done is None:
        return
    result, device = done
    if isinstance(result, FinetuneResult):
        _report(console, RunFolder(place.output), result, device)
    else:
        _report_comparison(console, RunFolder(place.output), settings, result, device)
    offer_page(console, place.output, place)


def _refuse_unused(
    console: Console, typed: Typed, settings: FinetuneSettings, task: FinetuneTask, data: LabelledData, place: RunPlace
) -> None:
    """Refuse what was typed for nothing, as far as that is known before the strategy is decided."""
    for line in typed.refuse(data.without_effect() | place.without_effect()):
        console.say(f"note: {line}")
    if task.preview_augment:
        typed.refuse(dict.fromkeys(("compare", "no_page", "watch_page"), "with --preview-augment"))
    if task.compare:
        typed.refuse({"watch_page": "with --compare, whose page is made at the end"})
        for line in typed.refuse(without_effect(settings) | {"resume": "with --compare"}):
            console.say(f"note: {line}")
        return
    unused = settings.without_effect()
    # What else differs from a resumed run is refused with both values; the run itself tells of configuration files.
    typed.refuse({name: why for name, why in unused.items() if not place.resume or name in MAY_CHANGE})


class _FinetuneWatcher(Watcher):
    # Features are in the cache, a head is fitted in no time, and a phase ends with its checkpoint.
    leaves_at = (*Watcher.leaves_at, Extracted, HeadFit)

    def show(self, event: Any) -> None:
        match event:
            case DataReport():
                lines = describe_data(event)
            case Decided():
                lines = [f"strategy: {event.settings.strategy.value}; {event.reason}"]
            case PhaseStart():
                lines = [f"  {line}" for line in parameter_table(event.parameters)]
            case EpochEnd():
                lines = _describe_epoch(event)
            case CompareRow():
                lines = [f"{event.name}: {100 * event.metrics['accuracy']:.1f} %"]
            case HeadFit():
                self._progress.update("fitting the head", event.done, event.total)
                return
            case _:
                super().show(event)
                return
        for line in lines:
            self.say(line)


def _describe_epoch(event: EpochEnd) -> list[str]:
    few = event.epochs <= 12 or event.epoch % max(1, event.epochs // 6) == 0 or event.epoch == event.epochs
    return [describe_epoch(event)] if event.epoch and few else []


def _report(console: Console, folder: RunFolder, result: FinetuneResult, device: str) -> None:
    """Charts and results into the run's folder, the result on stdout."""
    kind = "test" if result.test_metrics else "val"
    metrics = result.test_metrics or result.metrics
    split, class_names = result.dataset.splits[kind], result.dataset.class_names
    write_report(folder.path, metrics, result.logits[kind], split, class_names, result.history)
    scored = {name: (result.dataset.splits[name], logits) for name, logits in result.logits.items()}
    write_predictions(folder.path / "predictions.csv", scored, class_names)
    settings = as_plain(result.settings) | {"precision": result.precision}
    report_run(console, folder.path, settings, device, result.figures)
    for line in class_table(metrics):
        console.say(line)
    if result.cross_validation is None:
        console.result(f"val accuracy {describe_accuracy(result.metrics)}")
    else:
        console.result(f"cross-validated accuracy {describe_accuracy(result.cross_validation)}")
        for line in describe_held_out(result.cross_validation):
            console.say(f"  {line}")
    if result.test_metrics:
        console.result(f"test accuracy {describe_accuracy(result.test_metrics)}")
    console.result(f"model {folder.model}")


def _report_comparison(
    console: Console, folder: RunFolder, settings: FinetuneSettings, rows: list[CompareRow], device: str
) -> None:
    """The table, the chart and results of a comparison."""
    notes = write_chart(folder.path, rows, settings)
    document = console.document(as_plain(settings), device, run=folder.path, comparison=rows, notes=notes)
    folder.write_json("results.json", document)
    folder.drop_previous()
    for line in [*comparison_table(rows), *notes]:
        console.result(line)
    console.result(f"chart {folder.path / 'compare.png'}")


def _show_dry_run(
    console: Console, place: RunPlace, settings: FinetuneSettings, data: LabelledData, machine: Machine
) -> None:
    """Look at the data and say what would be trained and written."""
    find_continuation(settings)
    if not place.resume:
        RunFolder(place.output).check(place.overwrite, files_read(data, settings))
    with console.progress() as progress:
        watcher = Watcher(progress, console.quiet)
        report = follow(load_labelled(data, None, machine.reading_threads, place.output), watcher.show)
    for line in describe_data(report):
        console.result(line)
    console.result(f"would write {place.output}/ (dry run: nothing is written)")
    console.document(as_plain(settings), None, run=place.output, data=report.facts)


def _preview(
    console: Console, place: RunPlace, settings: FinetuneSettings, data: LabelledData, machine: Machine
) -> None:
    """Draw the augmentations of a training image."""
    if process_rank() != (0, 1):
        raise SettingsError("--preview-augment: draws one sheet; start one process only")
    file = place.output / "augment.png"
    check_file("-o", file, place.overwrite, files_read(data, settings))
    set_threads(machine.threads)
    with console.progress() as progress:
        progress.update("drawing augmentations", 0, 1)
        write_preview(file, data, settings, machine.reading_threads)
    console.result(str(file))
    console.document(as_plain(settings), None, output=file)
