"""Dreams of image files."""

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dltool.backbones.layers import resolve_layers
from dltool.events import mapped
from dltool.featmap.deepdream import dream
from dltool.featmap.files import Drawn, DrawStep, draw_files
from dltool.featmap.network import Network
from dltool.featmap.settings import DreamSettings
from dltool.images.batch import FileDone, FileStep
from dltool.images.folder import Job
from dltool.images.read import read_image
from dltool.images.tensors import resize_image, to_pixels, to_tensor
from dltool.images.write import write_image


def dream_files(
    jobs: Sequence[Job],
    network: Network,
    layer: str,
    settings: DreamSettings,
    workers: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[FileStep | FileDone]:
    """Let `layer` dream over every job's image.

    Raises:
        SettingsError: no such layer, or the network takes images of one size only.
    """
    own = resolve_layers(network.module, [layer], "--dream")[layer]

    def draw(jobs: list[Job], images: list[np.ndarray]) -> Generator[DrawStep, None, list[Drawn]]:
        drawn = []
        for job, pixels in zip(jobs, images, strict=True):
            steps = dream(network, to_tensor(pixels), own, settings)
            result = yield from mapped(steps, lambda step, job=job: DrawStep(job.input.name, step.step, step.steps))
            entry = {"output": job.output, "input": job.input, "kind": "dream", "layer": own}
            entry |= {"shape": list(pixels.shape), "score": {"first": result.first, "last": result.last}}
            drawn.append(Drawn(partial(_write, to_pixels(result.image), entry)))
        return drawn

    yield from draw_files(jobs, partial(_read, size=settings.size), draw, 1, workers, should_stop)


def _write(pixels: np.ndarray, entry: dict[str, Any]) -> list[dict[str, Any]]:
    write_image(entry["output"], pixels)
    return [entry]


def _read(path: Path, size: int) -> np.ndarray:
    return resize_image(read_image(path, size), size).pixels
