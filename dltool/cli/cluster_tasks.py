"""The job of `dltool cluster`: read, group or assign, write, report."""

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltool.cli.cluster_watch import Watcher, describe_result
from dltool.cli.console import Console
from dltool.cli.signals import StopRequest, stop_requests
from dltool.cluster.settings import ClusterSettings, SortBy, count_of, ignored
from dltool.errors import SettingsError
from dltool.images.folder import OnExisting

if TYPE_CHECKING:
    from dltool.cluster.grouping import ClusterContext, Grouped
    from dltool.cluster.output_folder import OutputFolder, Placement
    from dltool.cluster.source import Source
    from dltool.training.model_file import ModelFile


@dataclass(frozen=True)
class Where:
    """Data, places and manners of one run.

    Attributes:
        typed: options that were typed, as the command line spells them.
        reading: options of `open_source`.
    """

    data: str
    output: Path
    model: Path | None
    sort: SortBy | None
    on_existing: OnExisting
    dry_run: bool
    resume: bool
    device: str
    threads: int | None
    workers: int
    cache: bool
    typed: dict[str, str]
    reading: dict[str, Any]


def refuse_ignored(typed: dict[str, str], settings: ClusterSettings) -> None:
    """Raise SettingsError for a typed option that changes nothing beside the others."""
    for name, purpose in ignored(settings).items():
        if name in typed:
            raise SettingsError(f"{typed[name]}: has no effect here; it is for {purpose}")


def run_cluster(console: Console, where: Where, settings: ClusterSettings) -> None:
    """Do all of it, and report."""
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading", 0, 1)
        from dltool.cluster.assignment import load_groups, model_settings
        from dltool.cluster.features import resolve_features
        from dltool.cluster.grouping import ClusterContext
        from dltool.cluster.output_folder import OutputFolder
        from dltool.data.store import default_cache
        from dltool.device import describe_device, select_device, set_threads

        model = None
        if where.model is not None:
            model = load_groups(where.model)
            settings = replace(model_settings(model, where.model), seed=settings.seed)
        out = OutputFolder(where.output)
        if where.on_existing is OnExisting.SKIP and out.holds_result:
            console.say(f"{where.output}: holds a result already, skipped")
            console.document(settings, None, output=where.output, status="skipped")
            return
        out.check(where.on_existing, where.resume)
        set_threads(where.threads)
        device = select_device(where.device)
        context = ClusterContext(
            device=device,
            folder=where.output,
            cache=default_cache() if where.cache else None,
            workers=where.workers,
            should_stop=lambda: bool(stop),
            resume=where.resume,
        )
        watcher = Watcher(progress, console.quiet)
        source = _open(watcher, stop, where, context)
        if where.sort is not None and source is not None and not hasattr(source.split, "paths"):
            raise SettingsError(f"--sort: needs files of pictures, and {where.data} has none")
        if source is not None and model is None:
            refuse_ignored(where.typed, replace(settings, features=resolve_features(settings, source.kind)))
        if source is not None and where.dry_run and where.sort is None:
            _plan_only(console, where, settings, source)
            return
        grouped = None if source is None else _group(watcher, stop, (model, where.model), settings, context, source)
        if grouped is None:
            _tell_stopped(console, where, settings)
            stop.leave()
            return
        # What an older result left is no obstacle where it gives way.
        gives_way = where.on_existing is OnExisting.OVERWRITE or where.resume
        planned = out.plan_sorting(source, grouped.clustering, gives_way) if where.sort is not None else []
        if where.dry_run:
            _show_plan(console, where, settings, grouped, planned)
            return
        if gives_way:
            out.remove_older()
        summary = _write(watcher, stop, out, grouped, settings, planned, where.sort)
        if summary is None:
            console.warn(f"stopped while the results were written; {where.output} is incomplete")
            stop.leave()
            return
    for line in describe_result(summary):
        console.result(line)
    console.say(f"{where.output}: sheets, map, assignments.csv, clusters.json" + (", sorted/" if planned else ""))
    named = {"output": where.output, "assignments": out.assignments}
    named |= {"model": out.model if where.model is None else where.model}
    console.document(settings, describe_device(device), **named, sorted=len(planned), **summary)


def _open(watcher: Watcher, stop: StopRequest, where: Where, context: "ClusterContext") -> "Source | None":
    from dltool.cluster.source import Source, open_source
    from dltool.data.store import ContentStore
    from dltool.images.read import read_image

    store = ContentStore(context.cache / "fingerprints" if context.cache else None)
    found = None
    events = open_source(
        *(where.data, store, lambda path: read_image(path, shortest_side=256).pixels, context.workers),
        exclude=where.output,
        **where.reading,
    )
    with closing(events):
        for event in events:
            watcher.show(event)
            if isinstance(event, Source):
                found = event
            if stop:
                return None
    return found


def _group(
    watcher: Watcher,
    stop: StopRequest,
    groups: "tuple[ModelFile | None, Path | None]",
    settings: ClusterSettings,
    context: "ClusterContext",
    source: "Source",
) -> "Grouped | None":
    """Find groups, or with `groups`, a model and its file, assign to those; None if that was stopped."""
    from dltool.cluster.clustering import Clustering
    from dltool.cluster.grouping import Grouped, group

    model, path = groups
    if model is None or path is None:
        steps = group(source, settings, context)
    else:
        from dltool.cluster.assignment import assign

        steps = assign(model, path, source, context.device, context.cache, context.workers)
    with closing(steps):
        for event in steps:
            watcher.show(event)
            if isinstance(event, Grouped):
                return event
            if isinstance(event, Clustering):
                return Grouped(source, event)
            if stop and (model is not None or not settings.trains):  # what is trained saves its checkpoint first
                return None
    return None


def _write(
    watcher: Watcher,
    stop: StopRequest,
    out: "OutputFolder",
    grouped: "Grouped",
    settings: ClusterSettings,
    planned: "list[Placement]",
    sort: SortBy | None,
) -> dict[str, Any] | None:
    from dltool.cluster.result_files import write_report

    with closing(write_report(out, grouped, settings, planned, sort)) as events:
        for event in events:
            if isinstance(event, dict):
                return event
            watcher.show(event)
            if stop:
                return None
    return None


def _plan_only(console: Console, where: Where, settings: ClusterSettings, source: "Source") -> None:
    """Say what would be read and written."""
    verb = "group" if where.model is None else "assign"
    console.result(
        f"would {verb} {count_of(len(source), source.kind.value)} of {where.data} and write to {where.output}"
    )
    console.document(settings, None, output=where.output, status="planned", count=len(source))


def _show_plan(
    console: Console, where: Where, settings: ClusterSettings, grouped: "Grouped", planned: "list[Placement]"
) -> None:
    """Say where each image would go; only the features have been computed, and kept in the cache."""
    for placement in planned:
        console.result(f"{placement.source} -> {placement.target}")
    items = [{"input": p.source, "output": p.target, "status": "planned", "error": None} for p in planned]
    shown = replace(settings, k=len(grouped.clustering.centers))
    console.document(shown, None, output=where.output, status="planned", count=len(planned), items=items)


def _tell_stopped(console: Console, where: Where, settings: ClusterSettings) -> None:
    if where.model is None and settings.trains and (where.output / "last.ckpt").is_file():
        console.warn(f"stopped; {where.output} holds what is done, --resume goes on from here")
    else:
        console.warn("stopped; nothing was written, features that were computed are kept in the cache")
