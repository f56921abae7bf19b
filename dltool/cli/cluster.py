"""`dltool cluster`: sort images that nobody labelled, or the rows of a table."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dltool.cli.console import Console
from dltool.cli.duplicates import report_duplicates
from dltool.cli.options import Machine, Outputs
from dltool.cli.page import offer_page
from dltool.cli.signals import StopRequest, stop_requests
from dltool.cli.training import Watcher, describe_findings
from dltool.cluster.assignment import assign
from dltool.cluster.clustering import GroupingStep
from dltool.cluster.features import embedder_for_files, resolve_features
from dltool.cluster.grouping import Grouped, group
from dltool.cluster.groups_file import load_groups
from dltool.cluster.k_choice import Choice
from dltool.cluster.output_folder import OutputFolder, Placement
from dltool.cluster.result_files import write_result
from dltool.cluster.settings import (
    DECIDED_BY_A_MODEL,
    OF_TABLES,
    ClusterData,
    ClusterPlace,
    ClusterSettings,
    count_of,
)
from dltool.cluster.source import ClusterSource, SourceKind, is_images, open_source
from dltool.cluster.summary import describe_summary
from dltool.data.splits import FileSplit
from dltool.data.store import default_cache
from dltool.device import describe_device, select_device, set_threads
from dltool.errors import SettingsError
from dltool.events import finish, until_stopped
from dltool.images.folder import OnExisting
from dltool.outputs import files_read
from dltool.settings import Typed
from dltool.training.context import RunContext


def run(
    console: Console,
    typed: Typed,
    settings: ClusterSettings,
    place: ClusterPlace,
    data: ClusterData,
    outputs: Outputs,
    machine: Machine,
) -> None:
    """Find groups, or assign to those of a model; write, and report. Or say what would be done."""
    typed.refuse(data.without_effect() | place.without_effect())
    groups = None
    if place.model is not None:
        typed.refuse(dict.fromkeys(DECIDED_BY_A_MODEL, "with --model, whose groups are given"))
        groups = load_groups(place.model)
        settings = replace(groups.settings, seed=settings.seed)
        data = replace(data, columns=groups.columns, ignore=())
    else:
        typed.refuse(settings.without_effect())
    out = OutputFolder(place.output)
    if outputs.skip_existing and out.holds_result:
        console.say(f"{out.path}: holds a result already, skipped")
        console.document(settings, None, output=out.path, status="skipped")
        return
    resume = place.resume and settings.trains and groups is None
    out.check(outputs.on_existing, resume, files_read(settings, place, data, without=("output",)))
    if place.duplicates:
        report_duplicates(console, place, data, outputs, machine, _ClusterWatcher)
        return
    set_threads(machine.threads)
    device = select_device(machine.device, machine.deterministic)
    with stop_requests() as stop, console.progress() as progress:
        watcher = _ClusterWatcher(progress, console.quiet)
        context = RunContext(
            device=device,
            run=out.run,
            cache=None if data.no_cache else default_cache(),
            workers=machine.reading_threads,
            should_stop=lambda: bool(stop),
            resume=resume,
        )
        embedder = None
        if groups is None and is_images(data) and not (outputs.dry_run and place.sort is None):
            embedder = embedder_for_files(settings)
        seen_as = embedder.preprocessing if embedder else groups and groups.file.preprocessing
        source = finish(open_source(data, context, out.path, seen_as), watcher.show)
        if source is not None:
            watcher.describe(source)
            _check_source(typed, settings, place, data, source)
            if outputs.dry_run and place.sort is None:
                _plan(console, settings, place, data, source)
                return
        grouped = None
        if source is not None:
            events = assign(groups, source, context) if groups else group(source, settings, context, embedder)
            grouped = finish(events, watcher.show)
        if grouped is None:
            _leave(console, out, settings.trains and groups is None, stop)
            return
        # What an older result left is no obstacle where it gives way.
        gives_way = outputs.on_existing is OnExisting.OVERWRITE or resume
        placements = [] if place.sort is None else out.plan_sorting(_sorted_files(grouped), place.sort, gives_way)
        if outputs.dry_run:
            _plan_sorting(console, settings, out, grouped, placements)
            return
        if gives_way:
            out.remove_older()
        writing = write_result(out, grouped, settings, placements, place.save_embeddings, data)
        summary = finish(until_stopped(writing, context.should_stop), watcher.show)
        if summary is None:
            console.warn(f"stopped while the results were written; {out.path} is incomplete")
            stop.leave()
            return
    for line in describe_summary(summary):
        console.result(line)
    console.say(f"{out.path}: sheets, map, assignments.csv, clusters.json" + (", sorted/" if placements else ""))
    named = {"output": out.path, "assignments": out.assignments, "model": place.model or out.model}
    console.unreadable = source.unreadable
    console.document(settings, describe_device(device), **named, sorted=len(placements), **summary)
    offer_page(console, out.path, place)


def _sorted_files(grouped: Grouped) -> list[tuple[Path, str, str]]:
    """Path, name and folder of every image."""
    source, labels = grouped.source, grouped.clustering.labels.tolist()
    paths = source.split.paths
    return [(paths[index], source.item(index), f"cluster-{label}") for index, label in enumerate(labels)]


class _ClusterWatcher(Watcher):
    def show(self, event: Any) -> None:
        match event:
            case GroupingStep():
                self._progress.update(event.task, event.done, event.total, event.figure)
            case Choice():
                self.say(f"{count_of(event.k, 'clusters')}: {event.reason}")
            case _:
                super().show(event)

    def describe(self, source: ClusterSource) -> None:
        """Say what was found."""
        classes = f" (scored against {len(source.class_names)} classes)" if source.labels is not None else ""
        self.say(f"data: {count_of(len(source), source.kind.value)}{classes}")
        for line in describe_findings(source.notes, source.unreadable):
            self.say(line)


def _check_source(
    typed: Typed, settings: ClusterSettings, place: ClusterPlace, data: ClusterData, source: ClusterSource
) -> None:
    """Refuse what makes no sense for this kind of data."""
    if place.sort is not None and not isinstance(source.split, FileSplit):
        raise SettingsError(f"--sort: needs files of pictures, and {data.source} has none")
    if source.kind is not SourceKind.TABLE:
        typed.refuse(dict.fromkeys(OF_TABLES, "here; it is for tables"))
    if place.model is None:
        typed.refuse(settings.without_effect(resolve_features(settings, source.kind)))


def _leave(console: Console, out: OutputFolder, trains: bool, stop: StopRequest) -> None:
    if trains and out.run.checkpoint.is_file():
        console.warn(f"stopped; {out.path} holds what is done, --resume goes on from here")
    else:
        console.warn("stopped; nothing was written, features that were computed are kept in the cache")
    stop.leave()


def _plan(
    console: Console, settings: ClusterSettings, place: ClusterPlace, data: ClusterData, source: ClusterSource
) -> None:
    """Say what would be read and written."""
    verb = "group" if place.model is None else "assign"
    what = count_of(len(source), source.kind.value)
    console.result(f"would {verb} {what} of {data.source} and write to {place.output}")
    console.document(settings, None, output=place.output, status="planned", count=len(source))


def _plan_sorting(
    console: Console, settings: ClusterSettings, out: OutputFolder, grouped: Grouped, placements: Sequence[Placement]
) -> None:
    """Say where each image would go; only the features have been computed, and kept in the cache."""
    for placement in placements:
        console.result(f"{placement.source} -> {placement.target}")
    items = [{"input": p.source, "output": p.target, "status": "planned", "error": None} for p in placements]
    shown = replace(settings, k=len(grouped.clustering.centers))
    console.document(shown, None, output=out.path, status="planned", count=len(placements), items=items)
