"""`dltool cluster --duplicates`: images that show the same, and which of them to keep."""

from pathlib import Path

import torch

from dltool.cli.console import Console
from dltool.cli.options import Machine, Outputs
from dltool.cli.page import offer_page
from dltool.cli.signals import stop_requests
from dltool.cli.training import Watcher, describe_findings
from dltool.cluster.duplicate_files import write_duplicates
from dltool.cluster.duplicates import find_duplicates
from dltool.cluster.output_folder import OutputFolder
from dltool.cluster.settings import ClusterData, ClusterPlace
from dltool.data.store import default_cache
from dltool.device import set_threads
from dltool.errors import SettingsError
from dltool.events import finish, until_stopped
from dltool.images.folder import OnExisting
from dltool.training.context import RunContext


def report_duplicates(
    console: Console, place: ClusterPlace, data: ClusterData, outputs: Outputs, machine: Machine, watcher: type[Watcher]
) -> None:
    """Find them, write, and report; or say what would be written."""
    if not Path(data.source).is_dir():
        raise SettingsError(f"--duplicates: needs a folder of images, and {data.source} is none")
    out = OutputFolder(place.output)
    set_threads(machine.threads)
    with stop_requests() as stop, console.progress() as progress:
        seen = watcher(progress, console.quiet)
        context = RunContext(
            device=torch.device("cpu"),
            run=out.run,
            cache=None if data.no_cache else default_cache(),
            workers=machine.reading_threads,
            should_stop=lambda: bool(stop),
        )
        found = finish(until_stopped(find_duplicates(data, context, out.path), context.should_stop), seen.show)
        summary = None
        if found is not None:
            gives_way = outputs.on_existing is OnExisting.OVERWRITE
            files = [(m.path, m.name, f"group-{n}") for n, g in enumerate(found.groups, start=1) for m in g.members]
            placements = [] if place.sort is None else out.plan_sorting(files, place.sort, gives_way)
            if outputs.dry_run:
                for line in [f"{p.source} -> {p.target}" for p in placements] or found.lines:
                    console.result(line)
                items = [{"input": p.source, "output": p.target, "status": "planned"} for p in placements]
                console.document(place, None, output=out.path, status="planned", groups=len(found.groups), items=items)
                return
            if gives_way:
                out.remove_older()
            writing = write_duplicates(out, found, data.source, placements)
            summary = finish(until_stopped(writing, context.should_stop), seen.show)
        if summary is None:
            console.warn("stopped; what was seen of the images is kept in the cache")
            stop.leave()
            return
    for line in [*describe_findings(found.notes, found.unreadable), *found.lines]:
        console.result(line)
    console.unreadable = found.unreadable
    console.say(f"{out.path}: duplicates.csv, duplicates.json" + (", sorted/" if placements else ""))
    console.document(place, None, output=out.path, sorted=len(placements), **summary)
    offer_page(console, out.path, place)
