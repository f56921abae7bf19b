"""What `dltool finetune` does beside training: looking ahead, comparing, and reporting what came of it."""

from contextlib import closing
from typing import TYPE_CHECKING, Any

from dltool.cli.console import Console, Progress
from dltool.cli.data_options import describe_data
from dltool.cli.finetune_watch import Watcher, result_fields
from dltool.cli.old_training import RunPlace
from dltool.cli.signals import StopRequest
from dltool.errors import SettingsError
from dltool.finetune.settings import FinetuneSettings
from dltool.settings import as_plain

if TYPE_CHECKING:
    from dltool.finetune.train import FinetuneResult
    from dltool.training.context import RunContext


def show_dry_run(console: Console, place: RunPlace, settings: FinetuneSettings, data_values: dict[str, Any]) -> None:
    """Look at the data and say what would be trained and written."""
    from dltool.backbones.preprocessing import Preprocessing
    from dltool.data.load import load_data
    from dltool.data.pixels import PixelReader
    from dltool.data.settings import DataSettings
    from dltool.data.store import ContentStore
    from dltool.events import finish
    from dltool.training.run_folder import RunFolder

    if not place.resume:
        RunFolder(place.output).check(place.overwrite)
    with console.progress() as progress:
        event = finish(
            load_data(
                DataSettings(place.source, **data_values),
                ContentStore(None),
                PixelReader(Preprocessing(), max_bytes=0).read_file,
                place.workers,
            ),
            lambda event: progress.update("checking the data", event.done, event.total),
        )
    for line in describe_data(event):
        console.result(line)
    console.result(f"would write {place.output}/ (dry run: nothing is written)")
    console.document(as_plain(settings), None, run=place.output, data=event.facts)


def report(console: Console, place: RunPlace, result: "FinetuneResult", device: str) -> None:
    """Charts and results into the run's folder, the result on stdout."""
    from dltool.finetune.report import class_table, describe_accuracy, write_report
    from dltool.training.run_folder import RunFolder

    run = RunFolder(place.output)
    kind = "test" if result.test_metrics else "val"
    metrics = result.test_metrics or result.metrics
    write_report(
        run.path, metrics, result.logits[kind], result.dataset.splits[kind], result.dataset.class_names, result.history
    )
    document = console.document(
        as_plain(result.settings), device, run=run.path, model=run.model, **result_fields(result)
    )
    run.write_json("results.json", document)
    for line in class_table(metrics):
        console.say(line)
    console.result(f"val accuracy {describe_accuracy(result.metrics)}")
    if result.test_metrics:
        console.result(f"test accuracy {describe_accuracy(result.test_metrics)}")
    console.result(f"model {run.model}")


def preview(console: Console, place: RunPlace, settings: FinetuneSettings, data_values: dict[str, Any]) -> None:
    """Draw the augmentations of some training images."""
    from dltool.data.settings import DataSettings
    from dltool.device import set_threads
    from dltool.finetune.preview import write_preview

    file = place.output / "augment.png"
    if file.exists() and not place.overwrite:
        raise SettingsError(f"{file}: output exists; give --overwrite")
    set_threads(place.threads)
    with console.progress() as progress:
        progress.update("drawing augmentations", 0, 1)
        write_preview(file, DataSettings(place.source, **data_values), settings, place.workers)
    console.result(str(file))
    console.document(as_plain(settings), None, output=file)


def run_compare(
    console: Console,
    progress: Progress,
    stop: StopRequest,
    data: Any,
    settings: FinetuneSettings,
    context: "RunContext",
) -> None:
    from dltool.device import describe_device
    from dltool.finetune.compare import CompareRow, compare, comparison_table, write_page

    assert context.run is not None
    rows: list[CompareRow] = []
    watcher = Watcher(progress, quiet=console.quiet)
    with closing(compare(data, settings, context)) as events:
        for event in events:
            watcher.show(event)
            if isinstance(event, CompareRow):
                rows.append(event)
                progress.say(f"{event.name}: {100 * event.metrics['accuracy']:.1f} %")
            if stop and type(event).__name__ in watcher.leave_after:
                context.run.discard_unstarted()
                console.warn("stopped; nothing was compared")
                stop.leave()
    notes = write_page(context.run.path, rows)
    document = console.document(
        as_plain(settings), describe_device(context.device), run=context.run.path, comparison=rows, notes=notes
    )
    context.run.write_json("results.json", document)
    context.run.drop_previous()
    for line in [*comparison_table(rows), *notes]:
        console.result(line)
    console.result(f"page {context.run.path / 'compare.html'}")
