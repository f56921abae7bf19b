"""Which of the room's functions does what a task asks for, and what is said of each file that it has done."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from dltool.images.batch import FileDone, FileStep
from dltool.images.folder import Job
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.files import stylize_files
from dltool.stylize.files_frames import Clip, frame_files
from dltool.stylize.files_grid import grid_files
from dltool.stylize.grid import RATIOS, GridSheet
from dltool.stylize.optimize import StylizeResult
from dltool.stylize.plan import StylizeTask


def start_work(
    task: StylizeTask,
    jobs: list[Job],
    network: FeatureNetwork,
    device: torch.device,
    workers: int,
    should_stop: Callable[[], bool],
) -> Iterator[FileStep | FileDone]:
    """Begin the work on `jobs`; see `stylize_files`, `frame_files` and `grid_files` for what is yielded and raised."""
    settings, grid, frames = task.settings, task.grid, task.frames
    if grid.grid:
        ratios = grid.grid_ratios or RATIOS
        return grid_files(jobs, task.styles[0], network, settings, device, workers, ratios, should_stop)
    if frames.frames:
        animated = not task.files.content[0].is_dir()
        return frame_files(jobs, task.styles[0], network, settings, device, frames.hold_weight, should_stop, animated)
    what = (jobs, task.styles, network, settings, device, workers, task.files.mask, task.extras)
    return stylize_files(*what, should_stop)


def figures(result: StylizeResult | GridSheet | Clip | None) -> dict[str, Any]:
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
        case GridSheet():
            return {"size": result.pixels.shape[1::-1], "cells": result.cells}
        case Clip():
            return {"size": result.size, "frames": result.frames}
    return {}
