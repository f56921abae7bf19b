"""Stylizing files: images are read ahead and written behind, and a bad one never stops the rest."""

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dltool.device import memory_errors
from dltool.errors import DeviceError, DltoolError
from dltool.images.folder import Job
from dltool.images.read import DecodedImage, read_image
from dltool.images.stream import WriteBehind, read_ahead, write_error
from dltool.images.tensors import resize_image, resize_pixels, to_pixels, to_tensor
from dltool.images.write import write_gif, write_image
from dltool.stylize.budget import images_together
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.masks import Mask, read_mask
from dltool.stylize.optimize import StyleTargets, StylizeResult, StylizeStep, stylize_together
from dltool.stylize.settings import INITS, StylizeSettings
from dltool.stylize.styles import Extras, Style

_GIF_FRAMES = 40
_GIF_SIDE = 384
_GIF_SECONDS = 0.1


@dataclass(frozen=True)
class FileStep:
    """One evaluation of the image that is file `number` (from 1) of `count`.

    `together` are the numbers of the first and the last file of those that are evaluated in one pass with it; their
    steps come one after the other, the last file's last.
    """

    job: Job
    number: int
    count: int
    step: StylizeStep
    together: tuple[int, int]


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
    together: int | None = None,
) -> Iterator[FileStep | FileDone]:
    """Stylize every job's input into its output, in order; jobs marked `exists` are skipped.

    Every image's result depends on that image, the style and the settings alone, so that a run that was killed
    and goes on with what is missing ends with the same files. Not so where images are evaluated together, which on
    the CPU they never are unasked: rounding then depends on the company, and over many steps it grows to other
    strokes, with losses as good.

    Args:
        style: one style, or several, which the jobs' `variant` tells apart by name.
        mask: a grey or a label image for every photo; see `read_mask`.
        should_stop: asked after every step; when it says so, the images at work are given up, what is finished is
            written, and the generator ends.
        together: how many images at most, of one size and one style that follow each other, are evaluated in one
            pass of the network; None for as many as `images_together` says.

    Raises:
        DataError: the only style, the mask or the start image cannot be read.
    """
    style = Style(((style, 1.0),)) if isinstance(style, Path) else style
    styles = {each.name: each for each in ([style] if isinstance(style, Style) else style)}
    gallery = _Gallery(styles, network, settings, mask)
    init = None if settings.init in INITS else to_tensor(_read(Path(settings.init), settings.size).pixels)
    yield from (FileDone(job, "skipped") for job in jobs if job.exists)
    waiting = [job for job in jobs if not job.exists]
    easel = _Easel(gallery, network, settings, device, init, extras or Extras(), len(waiting), should_stop, together)
    images = read_ahead(waiting, lambda job: _read(job.input, settings.size), workers)
    written: deque[tuple[FileDone, Future[None]]] = deque()
    with WriteBehind() as writer:
        for event in easel.work(images):
            if isinstance(event, _Finished):
                write = partial(write_image, event.done.job.output, event.pixels, event.alpha)
                written.append((event.done, writer.submit(write)))
            else:
                yield event
            while written and written[0][1].done():
                yield _finish(*written.popleft())
        while written:
            yield _finish(*written.popleft())


@dataclass(frozen=True)
class _Photo:
    """File `number` of those to do, as read."""

    number: int
    job: Job
    image: DecodedImage

    @property
    def kind(self) -> tuple[tuple[int, int], str]:
        """What images that go together have in common: the size and the style's name."""
        return self.image.pixels.shape[1::-1], self.job.variant


@dataclass(frozen=True)
class _Finished:
    """An image that is to be written: H × W × 3 pixels and H × W alpha, all uint8."""

    done: FileDone
    pixels: np.ndarray
    alpha: np.ndarray | None


@dataclass
class _Easel:
    """Where photos are worked on, alone or in groups."""

    gallery: "_Gallery"
    network: FeatureNetwork
    settings: StylizeSettings
    device: torch.device
    init: Tensor | None
    extras: Extras
    count: int
    should_stop: Callable[[], bool]
    together: int | None

    def work(
        self, images: Iterable[tuple[Job, DecodedImage | DltoolError]]
    ) -> Iterator[FileStep | FileDone | _Finished]:
        """Stylize images in order; those that failed to be read are told."""
        for group in self._groups(images):
            if isinstance(group, FileDone):
                yield group
                continue
            error = yield from self._stylize(group)
            if error is not None and len(group) > 1:
                # What is wrong with one, or with all at once, must not change what the others become.
                if isinstance(error, DeviceError):
                    self.together = 1
                yield from self._stylize_one_by_one(group)
            elif error is not None:
                yield FileDone(group[0].job, "failed", error)
            if self.should_stop():
                return

    def _groups(self, images: Iterable[tuple[Job, DecodedImage | DltoolError]]) -> Iterator[FileDone | list[_Photo]]:
        """Images of a kind that follow each other, as many as go together; a broken file does not part them."""
        group: list[_Photo] = []
        for number, (job, image) in enumerate(images, start=1):
            if isinstance(image, DltoolError):
                yield FileDone(job, "failed", image)
                continue
            photo = _Photo(number, job, image)
            if group and photo.kind != group[0].kind:
                yield group
                group = []
            group.append(photo)
            if len(group) >= self._limit(photo.kind[0]):
                yield group
                group = []
        if group:
            yield group

    def _limit(self, size: tuple[int, int]) -> int:
        if self.together is None:
            return images_together(self.network, size, self.settings, self.device)
        return self.together

    def _stylize_one_by_one(self, photos: Sequence[_Photo]) -> Iterator[FileStep | FileDone | _Finished]:
        for photo in photos:
            error = yield from self._stylize([photo])
            if error is not None:
                yield FileDone(photo.job, "failed", error)
            if self.should_stop():
                return

    def _stylize(self, group: Sequence[_Photo]) -> Generator[FileStep | _Finished, None, DltoolError | None]:
        """Work on photos of a kind together, and return what went wrong with any of them."""
        contents = [to_tensor(photo.image.pixels) for photo in group]
        lapses = [_Lapse(self.extras, self.settings.steps, photo.job.output, photo.image.pixels) for photo in group]
        mask = None if self.gallery.mask is None else self.gallery.mask.at(group[0].kind[0])
        numbers = group[0].number, group[-1].number
        every = lapses[0].every
        results: list[StylizeResult] = []
        try:
            with _failures_of(group[0].job.input, group[0].image):
                targets = self.gallery.targets(group[0].job.variant)
                what = (contents, targets, self.network, self.settings, self.device, self.init, mask, None, every)
                for index, event in stylize_together(*what):
                    if isinstance(event, StylizeStep):
                        lapses[index].add(event)
                        photo = group[index]
                        yield FileStep(photo.job, photo.number, self.count, event, numbers)
                    else:
                        results.append(event)
                    if self.should_stop():
                        return None
                shown = [to_pixels(result.image) for result in results]
                for lapse, pixels in zip(lapses, shown, strict=True):
                    lapse.finish(pixels)
        except DltoolError as error:
            return error
        for photo, result, pixels in zip(group, results, shown, strict=True):
            done = FileDone(photo.job, "done", size=pixels.shape[1::-1], result=result)
            yield _Finished(done, pixels, photo.image.alpha)
        return None


@contextmanager
def _failures_of(path: Path, image: DecodedImage) -> Iterator[None]:
    """Turn what goes wrong with one image into a DltoolError that names it."""
    try:
        with memory_errors("the picture does not fit; try a smaller --size or --max-memory"):
            yield
    except DltoolError as error:
        raise type(error)(f"{path}: {error}") from error
    except (RuntimeError, ValueError, AssertionError) as error:
        height, width = image.pixels.shape[:2]
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
            self.mask = read_mask(mask, max(len(style.images) for style in styles.values()))
        self._name: str | None = None
        self._targets: list[StyleTargets] = []
        if len(styles) == 1:
            self.targets(next(iter(styles)))  # a painting that cannot be read is told before any work

    def targets(self, name: str) -> list[StyleTargets]:
        """The targets of the style called `name`: one of the blend, or with labels one of each painting."""
        if name != self._name:
            images = [(self._read(path), weight) for path, weight in self._styles[name].images]
            labels = self.mask is not None and self.mask.has_labels
            groups = [[pair] for pair in images] if labels else [images]
            self._targets = [StyleTargets(self._network, group) for group in groups]
            self._name = name
        return self._targets

    def _read(self, path: Path) -> Tensor:
        image = read_image(path, self._limit)
        if self._limit is not None and max(image.size) > self._limit:
            image = resize_image(image, self._limit)
        return to_tensor(image.pixels)


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
            write_image(self._extras.step_path(self._output, event.step), pixels)

    def finish(self, pixels: np.ndarray) -> None:
        if self._extras.gif:
            frames = [*self._frames, *[resize_pixels(pixels, self._size)] * 10]
            write_gif(self._extras.gif_path(self._output), frames, _GIF_SECONDS)


def _read(path: Path, size: int | None) -> DecodedImage:
    image = read_image(path, size)
    return image if size is None else resize_image(image, size)


def _finish(done: FileDone, writing: Future[None]) -> FileDone:
    error = write_error(writing)
    return done if error is None else FileDone(done.job, "failed", error)
