"""Which of the room's functions does what a task asks for, and what is said of each file that it has done."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from dltool.backbones.registry import create_backbone
from dltool.images.batch import FileDone, FileStep
from dltool.images.folder import Job
from dltool.images.video import file_mark
from dltool.instant.files import PaintResult, StyleBox, paint_files, paint_frames
from dltool.stylize.features import FeatureNetwork, feature_network
from dltool.stylize.files import stylize_files
from dltool.stylize.files_frames import Clip, MakeFrames, frame_files, made_frames
from dltool.stylize.files_grid import grid_files
from dltool.stylize.grid import RATIOS, GridSheet
from dltool.stylize.optimize import StylizeResult
from dltool.stylize.plan import StylizeTask


@dataclass(frozen=True)
class Work:
    """Work that is about to begin: its events, what is reported of how it is done, and lines for people."""

    events: Iterator[FileStep | FileDone]
    reported: dict[str, Any]
    notes: tuple[str, ...] = ()


@contextmanager
def begin_work(
    task: StylizeTask, jobs: list[Job], device: torch.device, workers: int, should_stop: Callable[[], bool]
) -> Iterator[Work]:
    """Load what does the work on `jobs`, which is there in this context.

    See `stylize_files`, `frame_files`, `grid_files` and `paint_files` for what is yielded and raised.
    """
    if task.instant:
        yield Work(_paint(task, jobs, device, workers, should_stop), {})
        return
    backbone = create_backbone(task.network.backbone, task.network.weights, task.settings.seed)
    with feature_network(backbone, task.network, task.settings, device) as network:
        layers = {"content_layers": network.content_layers, "style_layers": network.style_layers}
        reported = {**layers, "precision": "bf16" if network.bf16 else "fp32"}
        notes = (backbone.leftovers,) if backbone.leftovers else ()
        yield Work(_optimize(task, jobs, network, device, workers, should_stop), reported, notes)


def _optimize(
    task: StylizeTask,
    jobs: list[Job],
    network: FeatureNetwork,
    device: torch.device,
    workers: int,
    should_stop: Callable[[], bool],
) -> Iterator[FileStep | FileDone]:
    settings, grid, frames = task.settings, task.grid, task.frames
    if grid.grid:
        ratios = grid.grid_ratios or RATIOS
        return grid_files(jobs, task.styles[0], network, settings, device, workers, ratios, should_stop)
    if frames.frames:
        what = (jobs, task.styles[0], network, settings, device, frames.hold_weight, should_stop, task.animated)
        return frame_files(*what)
    what = (jobs, task.styles, network, settings, device, workers, task.files.mask, task.extras)
    return stylize_files(*what, should_stop)


def _paint(
    task: StylizeTask, jobs: list[Job], device: torch.device, workers: int, should_stop: Callable[[], bool]
) -> Iterator[FileStep | FileDone]:
    if not task.frames.frames:
        return paint_files(jobs, task.styles, task.settings, device, workers, task.files.mask, should_stop)

    def begin() -> MakeFrames:
        return partial(paint_frames, StyleBox(task.styles, task.settings, device))

    style = [(file_mark(path), weight) for path, weight in task.styles[0].images]
    return made_frames(jobs, task.settings, begin, {"style": style}, should_stop, task.animated)


def figures(result: StylizeResult | PaintResult | GridSheet | Clip | None) -> dict[str, Any]:
    """What an item says of a file that is done."""
    match result:
        case StylizeResult():
            return {
                "size": result.image.shape[:1:-1],
                "steps": result.steps,
                "seconds": round(result.seconds, 3),
                "content_loss": result.content_loss,
                "style_loss": result.style_loss,
                **({"note": ", ".join(result.notes)} if result.notes else {}),
            }
        case PaintResult(size, seconds, notes):
            return {"size": size, "seconds": round(seconds, 3), **({"note": ", ".join(notes)} if notes else {})}
        case GridSheet():
            return {"size": result.pixels.shape[1::-1], "cells": result.cells}
        case Clip():
            return {"size": result.size, "frames": result.frames}
    return {}
