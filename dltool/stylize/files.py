"""Stylizing files: pictures are read ahead and written behind, and a bad one never stops the rest."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from dltool.device import memory_errors
from dltool.errors import DltoolError
from dltool.images.folder import Job
from dltool.images.read import Picture, read_picture
from dltool.images.stream import WriteBehind, read_ahead
from dltool.images.tensors import resize_picture, to_pixels, to_tensor
from dltool.images.write import write_picture
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.optimize import StyleTargets, StylizeResult, StylizeStep, stylize
from dltool.stylize.settings import INITS, StylizeSettings


@dataclass(frozen=True)
class FileStep:
    """One evaluation of the picture that is file `number` (from 1) of `count`."""

    job: Job
    number: int
    count: int
    step: StylizeStep


@dataclass(frozen=True)
class FileDone:
    """A file that has been written, was there already, or failed; the figures are of a written one only."""

    job: Job
    status: str
    error: DltoolError | None = None
    size: tuple[int, int] | None = None
    result: StylizeResult | None = None


def stylize_files(
    jobs: Sequence[Job],
    style: Path,
    network: FeatureNetwork,
    settings: StylizeSettings,
    device: torch.device,
    workers: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[FileStep | FileDone]:
    """Stylize every job's input into its output, in order; jobs marked `exists` are skipped.

    When `should_stop`, asked after every step, says so, the picture at work is given up, what is finished is written,
    and the generator ends.

    Every picture's result depends on that picture, the style and the settings alone, so that a run that was killed
    and goes on with what is missing ends with the same files.

    Raises:
        DataError: the style or the start picture cannot be read.
    """
    targets = StyleTargets(network, to_tensor(_read(style, settings.size).pixels))
    init = None if settings.init in INITS else to_tensor(_read(Path(settings.init), settings.size).pixels)
    yield from (FileDone(job, "skipped") for job in jobs if job.exists)
    waiting = [job for job in jobs if not job.exists]
    written: deque[tuple[FileDone, Future[None]]] = deque()
    pictures = read_ahead(waiting, lambda job: _read(job.input, settings.size), workers)
    with WriteBehind() as writer:
        for number, (job, picture) in enumerate(pictures, start=1):
            if isinstance(picture, DltoolError):
                yield FileDone(job, "failed", picture)
                continue
            try:
                with _failures_of(job.input, picture, settings.size):
                    for event in stylize(to_tensor(picture.pixels), targets, network, settings, device, init):
                        if isinstance(event, StylizeStep):
                            yield FileStep(job, number, len(waiting), event)
                        if should_stop():
                            break
            except DltoolError as error:
                yield FileDone(job, "failed", error)
                continue
            if should_stop():
                break
            pixels = to_pixels(event.image)
            done = FileDone(job, "done", size=pixels.shape[1::-1], result=event)
            written.append((done, writer.submit(partial(write_picture, job.output, pixels, picture.alpha))))
            while written and written[0][1].done():
                yield _finish(*written.popleft())
        while written:
            yield _finish(*written.popleft())


@contextmanager
def _failures_of(path: Path, picture: Picture, size: int) -> Iterator[None]:
    """Turn what goes wrong with one picture into a DltoolError that names it."""
    try:
        with memory_errors(f"a picture of {size} px does not fit; try a smaller --size"):
            yield
    except DltoolError as error:
        raise type(error)(f"{path}: {error}") from error
    except (RuntimeError, ValueError, AssertionError) as error:
        height, width = picture.pixels.shape[:2]
        reason = " ".join(str(error).split())[:120]
        raise DltoolError(f"{path}: the network does not take it at {width} x {height} pixels ({reason})") from error


def _read(path: Path, size: int) -> Picture:
    return resize_picture(read_picture(path, size), size)


def _finish(done: FileDone, writing: Future[None]) -> FileDone:
    error = writing.exception()
    if error is None:
        return done
    if isinstance(error, DltoolError):
        return FileDone(done.job, "failed", error)
    raise error
