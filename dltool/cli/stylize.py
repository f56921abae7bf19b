"""`dltool stylize`: photos and a painting in, restyled photos out."""

from dataclasses import replace
from typing import Any

from dltool.cli.console import Console, Progress
from dltool.cli.items import collect_items, report_batch, report_planned, say_unread
from dltool.cli.options import Machine, Outputs
from dltool.cli.page import OutputPage, output_page
from dltool.cli.signals import stop_requests
from dltool.device import describe_device, select_device, set_threads
from dltool.images.batch import FileDone, FileStep
from dltool.images.folder import Job
from dltool.instant.files import PaintStep
from dltool.settings import Typed
from dltool.stylize.frames import FrameStep
from dltool.stylize.grid import GridStep
from dltool.stylize.optimize import StylizeStep
from dltool.stylize.plan import StylizeTask
from dltool.stylize.work import begin_work, figures


def run(console: Console, typed: Typed, outputs: Outputs, machine: Machine, *groups: Any) -> None:
    """Stylize, or say what would be written; the groups of settings are those of a `StylizeTask`, then a PageChoice."""
    *parts, page = groups
    task = StylizeTask(*parts)
    typed.refuse(task.without_effect())
    jobs = task.plan(outputs.on_existing)
    say_unread(console, task.files.content, task.files.output)
    reported = task.reported
    # Frames are looked at as a film.
    shown = None if task.frames.frames else output_page(task.files.output, jobs, page, always=task.grid.grid)
    if shown is None:
        typed.refuse({"no_page": "with --frames" if task.frames.frames else "on one result, which has no page"})
    if outputs.dry_run:
        machine.check(task.network.backbone)
    if report_planned(console, jobs, reported, outputs.dry_run, page=shown):
        return
    _work(console, task, jobs, machine, reported, shown)


def _work(
    console: Console,
    task: StylizeTask,
    jobs: list[Job],
    machine: Machine,
    reported: dict[str, Any],
    page: OutputPage | None,
) -> None:
    """Do the jobs and report, also where it is stopped; typer.Exit has the exit code where it is not 0."""
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading the network", 0, 1)
        set_threads(machine.threads)
        device = select_device(machine.device, machine.deterministic)
        watcher = _Watcher(progress)
        workers = 1 if machine.workers is None else machine.workers
        with begin_work(task, jobs, device, workers, lambda: bool(stop)) as work:
            for line in work.notes:
                progress.say(line)
            reported |= work.reported
            items = collect_items(work.events, jobs, watcher.show, figures)
    report_batch(console, items, reported, describe_device(device), stop, len(jobs), page=page)


class _Watcher:
    """Turns events into the progress display, and says what is out of the ordinary."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._last: dict[Job, StylizeStep] = {}  # of the images at work
        self._told: set[str] = set()

    def show(self, event: FileStep | FileDone) -> None:
        """Take one event."""
        if isinstance(event, FileDone):
            self._last.pop(event.job, None)
            return
        match event.step:
            case StylizeStep():
                self._show_step(event)
            case GridStep(cell, cells, step):
                self._progress.update(f"{event.job.input.name} cell {cell}/{cells}", step.step, step.steps)
            case PaintStep():
                self._progress.update(event.job.output.stem, event.number, event.count)
            case FrameStep(number, count, step):
                self._progress.update(f"{event.job.input.name} frame {number}/{count}", step.step, step.steps)

    def _show_step(self, event: FileStep) -> None:
        step, last = event.step, self._last.get(event.job)
        first, end = event.together
        if event.number == end:  # of images that go together the last one stands for all
            place = f"{end}/{event.count} " if first == end else f"{first}-{end}/{event.count} "
            figure = f"content {step.content_loss:.3g} style {step.style_loss:.3g}"
            name = (place if event.count > 1 else "") + event.job.output.stem
            self._progress.update(name, step.step, step.steps, figure)
        for line in step.remarks(last):
            if line not in self._told:
                self._told.add(line)
                self._progress.say(f"{event.job.input}: {line}")
        self._last[event.job] = replace(step, image=None)
