"""Dreams of image files."""

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from dltool.featmap.deepdream import DreamStep, dream
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
    """Let `layer`, a module's name, dream over every job's image.

    Raises:
        SettingsError: the network takes images of one size only.
    """

    def draw(jobs: list[Job], images: list[np.ndarray]) -> Generator[DrawStep, None, list[Drawn]]:
        drawn = []
        for job, pixels in zip(jobs, images, strict=True):
            for event in dream(network, to_tensor(pixels), layer, settings):
                if isinstance(event, DreamStep):
                    yield DrawStep(job.input.name, event.step, event.steps)
            entry = {"output": job.output, "input": job.input, "kind": "dream", "layer": layer}
            entry |= {"shape": list(pixels.shape), "score": {"first": event.first, "last": event.last}}
            drawn.append(Drawn(partial(write_image, job.output, to_pixels(event.image)), [entry]))
        return drawn

    yield from draw_files(jobs, partial(_read, size=settings.size), draw, 1, workers, should_stop)


def _read(path: Path, size: int) -> np.ndarray:
    return resize_image(read_image(path, size), size).pixels
