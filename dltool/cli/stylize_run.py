"""Running `dltool stylize` once its options are read: the network, the events, the report."""

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dltool.cli.console import Console, Progress
from dltool.cli.items import new_item, report_items
from dltool.cli.old_options import Precision
from dltool.cli.signals import stop_requests
from dltool.images.folder import Job
from dltool.stylize.settings import Pooling, StylizeSettings
from dltool.stylize.styles import Extras, Style

if TYPE_CHECKING:
    import torch

    from dltool.images.batch import FileDone, FileStep
    from dltool.stylize import FeatureNetwork
    from dltool.stylize.optimize import StylizeStep


@dataclass(frozen=True)
class NetworkChoice:
    """Which network judges, and how it is fed."""

    backbone: str
    weights: str
    precision: Precision
    pooling: Pooling
    pixel_mean: tuple[float, float, float] | None
    pixel_std: tuple[float, float, float] | None


@dataclass(frozen=True)
class Task:
    """Everything that a run does; `reported` are the settings as the report shows them."""

    jobs: list[Job]
    styles: list[Style]
    settings: StylizeSettings
    network: NetworkChoice
    mask: Path | None
    extras: Extras
    reported: dict[str, Any]


def run_task(console: Console, task: Task, device_name: str, threads: int | None, workers: int) -> None:
    """Stylize and report.

    Raises:
        typer.Exit: with the exit code where it is not 0.
    """
    items: list[dict[str, Any]] = []
    with console.progress() as progress:
        progress.update("loading the network", 0, 1)
        from dltool.device import describe_device, select_device, set_threads
        from dltool.stylize import stylize_files

        set_threads(threads)
        device = select_device(device_name)
        network = load_network(task, device, progress)
        talk = _Talk(progress, items)
        with network, stop_requests() as stop:
            what = (task.jobs, task.styles, network, task.settings, device, workers, task.mask, task.extras)
            for event in stylize_files(*what, should_stop=lambda: bool(stop)):
                talk.show(event)
    order = {job.output: index for index, job in enumerate(task.jobs)}
    items.sort(key=lambda item: order[item["output"]])  # a failed read is told before the write before it
    if not stop:
        report_items(console, items, task.reported, describe_device(device))
        return
    left = len(task.jobs) - len(items)
    console.warn(f"stopped with {left} of {len(task.jobs)} pictures not done; --skip-existing goes on from here")
    with suppress(typer.Exit):
        report_items(console, items, task.reported, describe_device(device), error="interrupted")
    raise typer.Exit(stop.exit_code)


def load_network(task: Task, device: "torch.device", progress: Progress) -> "FeatureNetwork":
    """Build the network, and put what it decided by itself into the report."""
    from dltool.backbones.registry import create_backbone
    from dltool.stylize import FeatureNetwork

    choice, settings = task.network, task.settings
    backbone = create_backbone(choice.backbone, choice.weights, settings.seed)
    if backbone.unexpected:
        progress.say(
            f"{backbone.weights}: {len(backbone.unexpected)} tensors, {backbone.unexpected[0]} among them, "
            f"have no place in {backbone.name}"
        )
    network = FeatureNetwork(
        backbone,
        device,
        settings.content_layers,
        settings.style_layers,
        {Precision.AUTO: None, Precision.FP32: False, Precision.BF16: True}[choice.precision],
        choice.pooling,
        choice.pixel_mean,
        choice.pixel_std,
    )
    task.reported.update(content_layers=network.content_layers, style_layers=network.style_layers)
    task.reported["precision"] = "bf16" if network.bf16 else "fp32"
    return network


class _Talk:
    """Turns events into the progress display and the report's items, and says what is out of the ordinary."""

    def __init__(self, progress: Progress, items: list[dict[str, Any]]) -> None:
        self._progress = progress
        self._items = items
        self._last: dict[Job, StylizeStep] = {}  # of the images at work
        self._ran_away: set[Job] = set()
        self._told_seams = False

    def show(self, event: "FileStep | FileDone") -> None:
        """Take one event."""
        if hasattr(event, "step"):
            self._step(event)
        else:
            self._last.pop(event.job, None)
            self._items.append(_done_item(event))

    def _step(self, event: "FileStep") -> None:
        step, last = event.step, self._last.get(event.job)
        first, end = event.together
        if event.number == end:  # of images that go together the last one stands for all
            place = f"{end}/{event.count} " if first == end else f"{first}-{end}/{event.count} "
            figure = f"content {step.content_loss:.3g} style {step.style_loss:.3g}"
            name = (place if event.count > 1 else "") + event.job.output.stem
            self._progress.update(name, step.step, step.steps, figure)
        if step.restarts and event.job not in self._ran_away:
            self._ran_away.add(event.job)
            self._progress.say(
                f"{event.job.input}: the loss ran away at step {step.step}; going on from the best picture so far "
                "with shorter steps"
            )
        if last is not None and last.tile is not None and step.tile is not None and step.tile < last.tile:
            self._progress.say(f"{event.job.input}: now in tiles of {step.tile} px")
        if step.seams and not self._told_seams:
            self._told_seams = True
            self._progress.say(
                f"{event.job.input}: this network sees tiles of {step.tile} px differently than the whole picture; "
                "where their borders show, a larger --max-memory or a smaller --size helps"
            )
        self._last[event.job] = replace(step, image=None)


def _done_item(event: "FileDone") -> dict[str, Any]:
    item = new_item(event.job, event.status, event.error)
    if event.result is not None:
        item |= {
            "size": event.result.image.shape[:1:-1],
            "steps": event.result.steps,
            "seconds": round(event.result.seconds, 3),
            "content_loss": event.result.content_loss,
            "style_loss": event.result.style_loss,
        }
    return item
