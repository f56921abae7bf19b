"""`dltool stylize --grid` and `--frames`: a sheet to choose settings by, and images in time."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltool.cli.console import Console, Progress
from dltool.cli.items import new_item, report_items
from dltool.cli.signals import StopRequest, stop_requests
from dltool.cli.stylize_run import Task, load_network
from dltool.errors import DataError, SettingsError
from dltool.images.folder import Job, OnExisting, plan_file, plan_outputs

if TYPE_CHECKING:
    import numpy as np
    import torch

    from dltool.stylize import FeatureNetwork, StyleTargets


@dataclass(frozen=True)
class GridChoice:
    """Content layers and ratios; empty and None for what suits the network."""

    layers: tuple[str, ...]
    ratios: tuple[float, ...] | None


@dataclass(frozen=True)
class FramesChoice:
    """How much of the loss holds still what stands still."""

    hold_weight: float


@dataclass(frozen=True)
class _Workshop:
    network: "FeatureNetwork"
    style: "StyleTargets"
    device: "torch.device"
    progress: Progress
    stop: StopRequest


def plan_frames(content: Path, output: Path, on_existing: OnExisting, protected: Sequence[Path]) -> list[Job]:
    """One job for an animated file, which becomes a GIF; for a folder one for every frame.

    Raises:
        DataError: the input is missing or empty.
        SettingsError: outputs exist, or `output` is another kind of file.
    """
    if content.is_dir():
        if output.suffix:
            raise SettingsError(f"-o {output}: a folder of frames becomes a folder of pictures")
        return plan_outputs([content], output, ".png", on_existing, protected)
    if output.suffix.lower() not in ("", ".gif"):
        raise SettingsError(f"-o {output}: an animation becomes a .gif file, or one in a folder")
    target = output if output.suffix else output / f"{content.stem}.gif"
    return plan_file(content, target, on_existing, protected)


@contextmanager
def _workshop(console: Console, task: Task, device_name: str, threads: int | None) -> Iterator[_Workshop]:
    """The network, entered, and the style's targets."""
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading the network", 0, 1)
        from dltool.device import memory_errors, select_device, set_threads
        from dltool.images.read import read_image
        from dltool.images.tensors import resize_image, to_tensor
        from dltool.stylize import StyleTargets

        set_threads(threads)
        device = select_device(device_name)
        limit = task.settings.size
        with load_network(task, device, progress) as network, memory_errors("try a smaller --size"):
            images = []
            for path, weight in task.styles[0].images:
                image = read_image(path)
                if limit is not None and max(image.size) > limit:
                    image = resize_image(image, limit)
                images.append((to_tensor(image.pixels), weight))
            yield _Workshop(network, StyleTargets(network, images), device, progress, stop)
    if stop:
        stop.leave()


def run_grid(console: Console, task: Task, choice: GridChoice, device_name: str, threads: int | None) -> None:
    """Write a sheet for every photo and report.

    Raises:
        typer.Exit: with the exit code where it is not 0.
    """
    from dataclasses import replace

    from dltool.device import describe_device

    items: list[dict[str, Any]] = [new_item(job, "skipped") for job in task.jobs if job.exists]
    if choice.layers:
        task = replace(task, settings=replace(task.settings, content_layers=choice.layers, content_layer_weights=()))
    with _workshop(console, task, device_name, threads) as workshop:
        for job in task.jobs:
            if not job.exists and not workshop.stop:
                items.append(_grid_of(job, task, choice, workshop))
    report_items(console, items, task.reported, describe_device(workshop.device))


def _grid_of(job: Job, task: Task, choice: GridChoice, workshop: _Workshop) -> dict[str, Any]:
    from dltool.images.read import read_image
    from dltool.images.tensors import resize_image
    from dltool.images.write import write_image
    from dltool.stylize.grid import RATIOS, GridCell, GridSheet, stylize_grid

    size = task.settings.size
    try:
        image = read_image(job.input, size)
    except DataError as error:
        return new_item(job, "failed", error)
    image = image if size is None else resize_image(image, size)
    cells: list[GridCell] = []
    layers, ratios = workshop.network.content_layers, choice.ratios or RATIOS
    title = f"{job.input.stem} + {', '.join(path.stem for path, _ in task.styles[0].images)}: style : content"
    events = stylize_grid(
        image, workshop.style, workshop.network, layers, ratios, task.settings, workshop.device, title
    )
    with closing(events):
        for event in events:
            if workshop.stop:
                workshop.stop.leave()
            if isinstance(event, GridCell):
                cells.append(event)
            elif isinstance(event, GridSheet):
                write_image(job.output, event.pixels)
                size = event.pixels.shape[1::-1]
            else:
                total = len(layers) * len(ratios)
                name = f"{job.input.name} cell {len(cells) + 1}/{total}"
                workshop.progress.update(name, event.step, event.steps)
    return new_item(job, "done") | {"size": size, "cells": cells}


def run_frames(console: Console, task: Task, choice: FramesChoice, device_name: str, threads: int | None) -> None:
    """Stylize an animation or a folder of frames, and report.

    Raises:
        typer.Exit: with the exit code where it is not 0.
    """
    from dltool.device import describe_device

    with _workshop(console, task, device_name, threads) as workshop:
        if len(task.jobs) == 1 and task.jobs[0].output.suffix.lower() == ".gif":
            items = [_animation(task.jobs[0], task, choice, workshop)]
        else:
            items = _folder(task, choice, workshop)
    report_items(console, items, task.reported, describe_device(workshop.device))


def _animation(job: Job, task: Task, choice: FramesChoice, workshop: _Workshop) -> dict[str, Any]:
    from dltool.images.read import read_frames
    from dltool.images.write import write_gif

    frames, seconds = read_frames(job.input)
    results = [done.pixels for done in _frames(frames, {}, job.input.name, task, choice, workshop)]
    write_gif(job.output, results, seconds)
    return new_item(job, "done") | {"size": results[0].shape[1::-1], "frames": len(results)}


def _folder(task: Task, choice: FramesChoice, workshop: _Workshop) -> list[dict[str, Any]]:
    """Every frame is written when it is done; frames that are there are where the next ones go on from."""
    from dltool.images.read import read_image
    from dltool.images.write import write_image

    frames = [read_image(job.input, task.settings.size).pixels for job in task.jobs]
    ready = {n: read_image(job.output).pixels for n, job in enumerate(task.jobs, start=1) if job.exists}
    items = [new_item(job, "skipped") for job in task.jobs if job.exists]
    for done in _frames(frames, ready, task.jobs[0].input.parent.name, task, choice, workshop):
        job = task.jobs[done.number - 1]
        write_image(job.output, done.pixels)
        figures = {"size": done.pixels.shape[1::-1], "seconds": round(done.result.seconds, 3)}
        items.append(new_item(job, "done") | figures)
    return items


def _frames(
    frames: "list[np.ndarray]",
    ready: "dict[int, np.ndarray]",
    name: str,
    task: Task,
    choice: FramesChoice,
    workshop: _Workshop,
) -> Iterator[Any]:
    from dltool.images.read import fit_longest
    from dltool.images.tensors import resize_pixels
    from dltool.stylize.frames import FrameStep, stylize_frames

    size = task.settings.size
    if size is not None:
        frames = [resize_pixels(frame, fit_longest(frame.shape[1::-1], size)) for frame in frames]
    events = stylize_frames(
        frames, workshop.style, workshop.network, task.settings, workshop.device, choice.hold_weight, ready
    )
    with closing(events):
        for event in events:
            if workshop.stop:
                workshop.stop.leave()
            if isinstance(event, FrameStep):
                place = f"{name} frame {event.number}/{event.count}"
                workshop.progress.update(place, event.step.step, event.step.steps)
            else:
                yield event
