"""`dltool featmap`: what a network sees, which pixels made it decide, and what its layers look for."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dltool.cli.console import Console, Progress
from dltool.cli.items import collect_items, report_batch, report_planned, say_unread
from dltool.cli.options import Machine, Outputs
from dltool.cli.page import OutputPage
from dltool.cli.signals import StopRequest, stop_requests
from dltool.device import describe_device, select_device, set_threads
from dltool.events import finish
from dltool.featmap.draw import draw_page, draw_task
from dltool.featmap.files_network import ObjectiveStep
from dltool.featmap.layers import filter_layers, layer_table, list_layers
from dltool.featmap.manifest import note_entries, write_manifest
from dltool.featmap.model_file import load_network
from dltool.featmap.network import Network
from dltool.featmap.plan import FeatmapTask, Question
from dltool.featmap.pointing import pointing_accuracy
from dltool.images.batch import FileDone, FileStep
from dltool.pages.settings import PageChoice
from dltool.settings import Typed, as_plain


def run(console: Console, typed: Typed, outputs: Outputs, machine: Machine, *groups: Any) -> None:
    """Look into a network, or say what would be written; the groups are those of a `FeatmapTask`, then a PageChoice."""
    *parts, page = groups
    task = FeatmapTask(*parts)
    typed.refuse(task.without_effect())
    shown = _page(typed, task, page)
    if outputs.dry_run:
        machine.check(None if task.network.model else task.network.backbone)
    match task.question:
        case Question.LAYERS:
            _show_layers(console, task, machine)
        case _:
            draw = _draw_files if task.takes_images else _draw_page
            draw(console, task, outputs, machine, shown)


def _page(typed: Typed, task: FeatmapTask, choice: PageChoice) -> OutputPage | None:
    """The page of the output folder, which its manifest says all about; None where there is no such folder."""
    folder = None if task.question is Question.LAYERS else task.folder
    if folder is None:
        typed.refuse({"no_page": "without a folder of results, which has a page"})
        return None
    return OutputPage(folder, choice, keeps=False)


def _reported(task: FeatmapTask, machine: Machine, settings: Any = None) -> dict[str, Any]:
    """The settings as the JSON document has them."""
    chosen = settings if isinstance(settings, dict) else {} if settings is None else as_plain(settings)
    more = {"size": task.look.size, "device": machine.device, "threads": machine.threads}
    return more | as_plain(task.network) | chosen


@contextmanager
def _loaded(console: Console, task: FeatmapTask, machine: Machine) -> Iterator[tuple[Network, Progress, StopRequest]]:
    """The network on its device, inside a progress display that also collects requests to stop."""
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading the network", 0, 1)
        set_threads(machine.threads)
        # A dream's size is the image's; the network's preprocessing has no part in it.
        size = None if task.question is Question.DREAM else task.look.size
        network = load_network(task.network, select_device(machine.device, machine.deterministic), size)
        if network.leftovers:
            progress.say(network.leftovers)
        yield network, progress, stop


def _show_layers(console: Console, task: FeatmapTask, machine: Machine) -> None:
    """Print the layers (those that match the patterns) as a table, or as JSON."""
    with _loaded(console, task, machine) as (network, _, _):
        layers = filter_layers(network, list_layers(network), task.look.layer)
    total = sum(parameter.numel() for parameter in network.module.parameters())
    for line in layer_table(layers):
        console.result(line)
    console.result(
        f"{len(layers)} layers of {network.name} at {network.size} x {network.size}, {total:,} parameters in all"
    )
    console.document(
        _reported(task, machine),
        describe_device(network.device),
        network=network.name,
        size=network.size,
        parameters=total,
        layers=[asdict(layer) | ({"receptive_field": "all"} if layer.sees_all else {}) for layer in layers],
    )


def _draw_files(
    console: Console, task: FeatmapTask, outputs: Outputs, machine: Machine, page: OutputPage | None
) -> None:
    """Draw maps, explanations or dreams of every image, and report."""
    jobs = task.plan_files(outputs.on_existing)
    say_unread(console, task.files.images, task.files.output)
    settings = task.settings()
    if not outputs.dry_run and all(job.exists for job in jobs):
        write_manifest(task.manifest, {}, [])  # of what an earlier run noted that was killed at its end
    if report_planned(console, jobs, _reported(task, machine, settings), outputs.dry_run, page=page):
        return
    entries: list[dict[str, Any]] = []
    with _loaded(console, task, machine) as (network, progress, stop):

        def show(event: FileStep | FileDone) -> None:
            if isinstance(event, FileStep):
                progress.update(event.step.task, event.step.done, event.step.total)
            elif event.result is not None:
                entries.extend(event.result.entries)
                note_entries(task.manifest, _described(task, network), event.result.entries)

        workers = 1 if machine.workers is None else machine.workers
        settings, events = draw_task(task, network, jobs, workers, lambda: bool(stop))
        items = collect_items(events, jobs, show, lambda drawn: drawn.figures if drawn else {})
    _write_manifest(task, network, entries)
    for entry in entries:
        if entry.get("score") and entry.get("method"):
            console.result(_score_line(entry))
    pointing = pointing_accuracy(entries)
    for method, game in pointing.items():
        console.result(f"{method}: {game['hits']} of {game['of']} maps point at the object")
    device, more = describe_device(network.device), {"pointing": pointing} if pointing else {}
    report_batch(console, items, _reported(task, machine, settings), device, stop, len(jobs), page=page, **more)


def _draw_page(
    console: Console, task: FeatmapTask, outputs: Outputs, machine: Machine, page: OutputPage | None
) -> None:
    """Draw a page about the network alone, and report."""
    path, stays = task.plan_page(outputs.on_existing)
    if outputs.dry_run or stays:
        status = "skipped" if stays else "planned"
        console.result(f"{path} ({status})")
        console.document(_reported(task, machine), None, outputs=[{"output": path, "status": status}])
        return
    with _loaded(console, task, machine) as (network, progress, stop):

        def show(event: ObjectiveStep) -> None:
            if stop:
                stop.leave()
            step = event.step
            progress.update(event.label, step.step, step.steps, f"{step.activation:.2f}")

        entries, settings = finish(draw_page(task, network, path), show)
        reported = _reported(task, machine, settings)
    _write_manifest(task, network, entries)
    for entry in entries:
        console.result(f"{entry.get('label') or entry.get('layer') or entry['kind']} -> {entry['output']}")
    document = console.document(reported, describe_device(network.device), outputs=entries)
    if page is not None:
        page.offer(console, document)


def _write_manifest(task: FeatmapTask, network: Network, entries: Sequence[dict[str, Any]]) -> None:
    write_manifest(task.manifest, _described(task, network), entries)


def _described(task: FeatmapTask, network: Network) -> dict[str, Any]:
    return {"network": network.name, "weights": task.network.weights, "size": network.size}


def _score_line(entry: dict[str, Any]) -> str:
    score = entry["score"]
    return (
        f"{Path(entry['input']).name}, {entry['class']}: {entry['method']:<20} deletion {score['deletion']:.3f}  "
        f"insertion {score['insertion']:.3f}  gain {score['gain']:+.3f}"
    )
