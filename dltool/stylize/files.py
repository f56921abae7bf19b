"""Stylizing files: pictures are read ahead and written behind, and a bad one never stops the rest."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dltool.device import memory_errors
from dltool.errors import DltoolError
from dltool.images.folder import Job
from dltool.images.read import Picture, read_picture
from dltool.images.stream import WriteBehind, read_ahead, write_error
from dltool.images.tensors import resize_picture, resize_pixels, to_pixels, to_tensor
from dltool.images.write import write_gif, write_picture
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.masks import Mask, read_mask
from dltool.stylize.optimize import StyleTargets, StylizeResult, StylizeStep, stylize
from dltool.stylize.settings import INITS, StylizeSettings
from dltool.stylize.styles import Extras, Style

_GIF_FRAMES = 40
_GIF_SIDE = 384
_GIF_SECONDS = 0.1


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
    style: Style | Path | Sequence[Style],
    network: FeatureNetwork,
    settings: StylizeSettings,
    device: torch.device,
    workers: int = 1,
    mask: Path | None = None,
    extras: Extras | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[FileStep | FileDone]:
    """Stylize every job's input into its output, in order; jobs marked `exists` are skipped.

    Every picture's result depends on that picture, the style and the settings alone, so that a run that was killed
    and goes on with what is missing ends with the same files.

    Args:
        style: one style, or several, which the jobs' `variant` tells apart by name.
        mask: a grey or a label picture for every photo; see `read_mask`.
        should_stop: asked after every step; when it says so, the picture at work is given up, what is finished is
            written, and the generator ends.

    Raises:
        DataError: the only style, the mask or the start picture cannot be read.
    """
    style = Style(((style, 1.0),)) if isinstance(style, Path) else style
    styles = {each.name: each for each in ([style] if isinstance(style, Style) else style)}
    gallery = _Gallery(styles, network, settings, mask)
    extras = extras or Extras()
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
            photo = to_tensor(picture.pixels)
            lapse = _Lapse(extras, settings.steps, job.output, picture.pixels)
            layers = None if gallery.mask is None else gallery.mask.at(photo.shape[:1:-1])
            try:
                with _failures_of(job.input, picture):
                    targets = gallery.targets(job.variant)
                    for event in stylize(photo, targets, network, settings, device, init, layers, None, lapse.every):
                        if isinstance(event, StylizeStep):
                            lapse.add(event)
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
            lapse.finish(pixels)
            written.append((done, writer.submit(partial(write_picture, job.output, pixels, picture.alpha))))
            while written and written[0][1].done():
                yield _finish(*written.popleft())
        while written:
            yield _finish(*written.popleft())


@contextmanager
def _failures_of(path: Path, picture: Picture) -> Iterator[None]:
    """Turn what goes wrong with one picture into a DltoolError that names it."""
    try:
        with memory_errors("the picture does not fit; try a smaller --size or --max-memory"):
            yield
    except DltoolError as error:
        raise type(error)(f"{path}: {error}") from error
    except (RuntimeError, ValueError, AssertionError) as error:
        height, width = picture.pixels.shape[:2]
        reason = " ".join(str(error).split())[:120]
        raise DltoolError(f"{path}: the network does not take it at {width} x {height} pixels ({reason})") from error


class _Gallery:
    """The styles' targets, each made when first asked for and kept while its jobs last; and the mask."""

    def __init__(
        self, styles: dict[str, Style], network: FeatureNetwork, settings: StylizeSettings, mask: Path | None
    ) -> None:
        self._styles = styles
        self._network = network
        self._limit = None if settings.size is None else round(settings.size * max(1.0, settings.style_scale))
        self.mask: Mask | None = None
        if mask is not None:
            self.mask = read_mask(mask, max(len(style.pictures) for style in styles.values()))
        self._name: str | None = None
        self._targets: list[StyleTargets] = []
        if len(styles) == 1:
            self.targets(next(iter(styles)))  # a painting that cannot be read is told before any work

    def targets(self, name: str) -> list[StyleTargets]:
        """The targets of the style called `name`: one of the blend, or with labels one of each painting."""
        if name != self._name:
            pictures = [(self._read(path), weight) for path, weight in self._styles[name].pictures]
            labels = self.mask is not None and self.mask.has_labels
            groups = [[pair] for pair in pictures] if labels else [pictures]
            self._targets = [StyleTargets(self._network, group) for group in groups]
            self._name = name
        return self._targets

    def _read(self, path: Path) -> Tensor:
        picture = read_picture(path, self._limit)
        if self._limit is not None and max(picture.size) > self._limit:
            picture = resize_picture(picture, self._limit)
        return to_tensor(picture.pixels)


class _Lapse:
    """Collects and writes what the optimization looks like on its way."""

    def __init__(self, extras: Extras, steps: int, output: Path, photo: np.ndarray) -> None:
        often = max(1, steps // _GIF_FRAMES)
        self.every = math.gcd(extras.save_every, often if extras.gif else 0)
        self._often = often
        self._extras = extras
        self._output = output
        height, width = photo.shape[:2]
        scale = min(1.0, _GIF_SIDE / max(height, width))
        self._size = max(1, round(width * scale)), max(1, round(height * scale))
        self._frames = [resize_pixels(photo, self._size)] if extras.gif else []

    def add(self, event: StylizeStep) -> None:
        if event.image is None:
            return
        pixels = to_pixels(event.image)
        if self._extras.gif and event.step % self._often == 0:
            self._frames.append(resize_pixels(pixels, self._size))
        if self._extras.save_every and event.step % self._extras.save_every == 0:
            write_picture(self._extras.step_path(self._output, event.step), pixels)

    def finish(self, pixels: np.ndarray) -> None:
        if self._extras.gif:
            frames = [*self._frames, *[resize_pixels(pixels, self._size)] * 10]
            write_gif(self._extras.gif_path(self._output), frames, _GIF_SECONDS)


def _read(path: Path, size: int | None) -> Picture:
    picture = read_picture(path, size)
    return picture if size is None else resize_picture(picture, size)


def _finish(done: FileDone, writing: Future[None]) -> FileDone:
    error = write_error(writing)
    return done if error is None else FileDone(done.job, "failed", error)
