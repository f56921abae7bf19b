"""Images in, pages out: read ahead, shown to the network in batches, written behind; a bad one stops none."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dltool.device import memory_errors
from dltool.errors import DltoolError
from dltool.featmap.network import Network
from dltool.images.folder import Job
from dltool.images.read import read_image
from dltool.images.stream import WriteBehind, read_ahead, write_error

_MEMORY_ADVICE = "try a smaller --batch-size or --size"


@dataclass(frozen=True)
class FileStep:
    """How far the work on the images at hand is."""

    task: str
    done: int
    total: int


@dataclass(frozen=True)
class FileDone:
    """An image whose pages have been written, were there already, or that failed.

    Attributes:
        entries: for the manifest, one per written file.
        top: names and probabilities of the network's best classes, where it has classes.
    """

    job: Job
    status: str
    error: DltoolError | None = None
    entries: tuple[dict[str, Any], ...] = ()
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Drawn:
    """What is known of one image before its pages are written: `write` draws and writes them."""

    write: Callable[[], None]
    entries: list[dict[str, Any]]
    top: list[tuple[str, float]] = field(default_factory=list)


Draw = Callable[[list[Job], list[np.ndarray]], Generator[FileStep, None, list[Drawn]]]
"""Takes jobs with their H × W × 3 uint8 pixels, yields progress and returns one Drawn per job."""


def process_files(
    jobs: Sequence[Job], read: Callable[[Path], np.ndarray], draw: Draw, batch_size: int, workers: int
) -> Iterator[FileStep | FileDone]:
    """Read the jobs' images, draw them in batches and write what was drawn; jobs marked `exists` are skipped.

    Raises:
        DeviceError: a batch does not fit into memory.
    """
    yield from (FileDone(job, "skipped") for job in jobs if job.exists)
    waiting = [job for job in jobs if not job.exists]
    written: deque[tuple[FileDone, Future[None]]] = deque()
    batch: list[tuple[Job, np.ndarray]] = []
    seen = 0
    with WriteBehind() as writer:
        for job, pixels in read_ahead(waiting, lambda job: read(job.input), workers):
            seen += 1
            if isinstance(pixels, DltoolError):
                yield FileDone(job, "failed", pixels)
            else:
                batch.append((job, pixels))
            if batch and (len(batch) == batch_size or seen == len(waiting)):
                with memory_errors(_MEMORY_ADVICE):
                    drawn = yield from draw([job for job, _ in batch], [pixels for _, pixels in batch])
                for (ready, _), one in zip(batch, drawn, strict=True):
                    done = FileDone(ready, "done", None, tuple(one.entries), tuple(one.top))
                    written.append((done, writer.submit(one.write)))
                batch = []
            while written and written[0][1].done():
                yield _finish(*written.popleft())
        while written:
            yield _finish(*written.popleft())


def read_crop(network: Network, path: Path) -> np.ndarray:
    """Read the size × size × 3 uint8 pixels of an image that the network sees.

    Raises:
        DataError: the image cannot be read.
    """
    return network.crop(read_image(path, shortest_side=network.preprocessing.resize).pixels)


def details_folder(output: Path) -> Path:
    """The folder for the single pages that belong to the page `output`: `out/cat.maps.png` has `out/cat`."""
    name = output.name
    for suffix in (".maps.png", ".why.png", ".dream.png", output.suffix):
        if suffix and name.endswith(suffix):
            return output.with_name(name.removesuffix(suffix))
    return output.with_name(name + ".pages")


def _finish(done: FileDone, writing: Future[None]) -> FileDone:
    error = write_error(writing)
    return done if error is None else FileDone(done.job, "failed", error)
