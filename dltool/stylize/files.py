"""Stylizing files: photos in, restyled photos out, several of one size together where that is faster."""

import math
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dltool.device import is_out_of_memory
from dltool.errors import DeviceError, DltoolError, SettingsError
from dltool.events import mapped
from dltool.images.batch import FileDone, FileStep, Finish, OpenedFile, run_batch
from dltool.images.convert import lay_on_white
from dltool.images.folder import Job
from dltool.images.read import DecodedImage, fit_longest, read_image
from dltool.images.tensors import resize_image, resize_pixels, to_pixels, to_tensor
from dltool.images.transparency import fill_transparent, visible_share
from dltool.images.write import write_gif, write_image
from dltool.instant.painting import Paint, mixed, paint
from dltool.instant.style_file import load_style
from dltool.stylize.budget import images_together
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.masks import Mask, read_mask
from dltool.stylize.optimize import StyleTargets, StylizeResult, StylizeStep, stylize_together
from dltool.stylize.settings import INITS, Extras, StylizeSettings
from dltool.stylize.styles import Style
from dltool.stylize.targets import read_style

_GIF_FRAMES = 40
_GIF_SIDE = 384
_GIF_SECONDS = 0.1


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
    """Stylize every job's input into its output, as `run_batch` does; a FileDone's result is the StylizeResult.

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

    Yields:
        A FileStep with a StylizeStep for each evaluation of an image; those of images that are evaluated together
        come one after the other.

    Raises:
        DataError: the only style, the mask or the start image cannot be read.
    """
    style = Style(((style, 1.0),)) if isinstance(style, Path) else style
    styles = {each.name: each for each in ([style] if isinstance(style, Style) else style)}
    gallery = _Gallery(styles, network, settings, mask)
    start = read_painted_start(settings, device), read_start(settings)
    easel = _Easel(gallery, network, settings, device, *start, extras or Extras(), together)
    yield from run_batch(
        jobs,
        lambda job: read_photo(job.input, settings.size),
        easel.stylize,
        workers,
        "the picture does not fit; try a smaller --size or --max-memory",
        easel.kind,
        should_stop=should_stop,
    )


@dataclass(frozen=True)
class _Easel:
    """Where photos are worked on, alone or several of a kind."""

    gallery: "_Gallery"
    network: FeatureNetwork
    settings: StylizeSettings
    device: torch.device
    paint: Paint | None
    init: DecodedImage | None
    extras: Extras
    together: int | None

    def kind(self, photo: OpenedFile[DecodedImage]) -> tuple[Hashable, int]:
        """Size and style, which images that go together have in common, and how many go together.

        One with transparency goes alone, since those that go together have one mask, and so have they one start.
        """
        size = photo.content.pixels.shape[1::-1]
        if photo.content.alpha is not None or self.paint is not None:
            return photo.number, 1
        limit = self.together
        if limit is None:
            limit = images_together(self.network, size, self.settings, self.device)
        return (size, photo.job.variant), limit

    def stylize(
        self, photos: Sequence[OpenedFile[DecodedImage]]
    ) -> Generator[tuple[int, StylizeStep], None, list[Finish]]:
        """Work on photos of a kind together."""
        images = [photo.content for photo in photos]
        contents = [to_tensor(image.pixels) for image in images]
        outputs = [photo.job.output for photo in photos]
        lapses = [
            _Lapse(self.extras, self.settings.steps, output, image)
            for output, image in zip(outputs, images, strict=True)
        ]
        size = images[0].pixels.shape[1::-1]
        mask = None if self.gallery.mask is None else self.gallery.mask.at(size)

        def watch(numbered: tuple[int, StylizeStep]) -> tuple[int, StylizeStep]:
            index, step = numbered
            lapses[index].add(step)
            return numbered

        with of_this_size(size):
            targets = self.gallery.targets(photos[0].job.variant)
            init = self._start(images[0])
            what = (contents, targets, self.network, self.settings, self.device, init, mask, None)
            opacity = visible_share(images[0].alpha)
            results = yield from mapped(stylize_together(*what, lapses[0].every, opacity), watch)
            shown = [to_pixels(result.image) for result in results]
            for lapse, pixels in zip(lapses, shown, strict=True):
                lapse.finish(pixels)
        notes = self._stretched(size)
        return [
            partial(_write, output, pixels, image, replace(result, notes=notes))
            for output, pixels, image, result in zip(outputs, shown, images, results, strict=True)
        ]

    def _start(self, photo: DecodedImage) -> Tensor | None:
        """The image to begin with, where one is given."""
        if self.paint is not None:
            return to_tensor(paint(photo.pixels, self.paint, opacity=visible_share(photo.alpha)))
        return None if self.init is None else to_tensor(self.init.pixels)

    def _stretched(self, size: tuple[int, int]) -> tuple[str, ...]:
        """What of the mask and the start image is of another shape than a photo of `size`, in words."""
        given = {
            "mask": None if self.gallery.mask is None else self.gallery.mask.size,
            "start image": None if self.init is None else self.init.size,
        }
        return tuple(
            f"the {name} of {own[0]}x{own[1]} is of another shape and was stretched"
            for name, own in given.items()
            if own is not None and not same_shape(own, size)
        )


def same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two images of these widths and heights have the same proportions, but for a pixel that was rounded."""
    small, large = sorted((one, other))
    scaled = fit_longest(large, max(small))
    return max(abs(a - b) for a, b in zip(small, scaled, strict=True)) <= 1


@contextmanager
def of_this_size(size: tuple[int, int]) -> Iterator[None]:
    """Say of what the network or its layers raise that it is about images of this size."""
    try:
        yield
    except SettingsError as error:  # nothing can be cut into tiles: that it had to be is this image's fault
        raise DeviceError(f"{error}; try a smaller --size or a larger --max-memory") from error
    except (RuntimeError, ValueError, AssertionError) as error:
        if is_out_of_memory(error):
            raise
        width, height = size
        reason = " ".join(str(error).split())[:120]
        raise DltoolError(f"the network does not take it at {width} x {height} pixels ({reason})") from error


def _write(output: Path, pixels: np.ndarray, photo: DecodedImage, result: StylizeResult) -> StylizeResult:
    lost = write_image(output, pixels, photo.alpha, photo.metadata)
    return replace(result, notes=(*photo.notes, *result.notes, *lost))


class _Gallery:
    """The styles' targets, each made when first asked for and kept while its jobs last; and the mask."""

    def __init__(
        self, styles: dict[str, Style], network: FeatureNetwork, settings: StylizeSettings, mask: Path | None
    ) -> None:
        self._styles = styles
        self._network = network
        self._settings = settings
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
            paintings = read_style(self._styles[name], self._settings)
            labels = self.mask is not None and self.mask.has_labels
            groups = [[painting] for painting in paintings] if labels else [paintings]
            self._targets = [StyleTargets(self._network, group) for group in groups]
            self._name = name
        return self._targets


class _Lapse:
    """Collects and writes what the optimization looks like on its way."""

    def __init__(self, extras: Extras, steps: int, output: Path, photo: DecodedImage) -> None:
        often = max(1, steps // _GIF_FRAMES)
        self.every = math.gcd(extras.save_every, often if extras.gif else 0)
        self._often = often
        self._extras = extras
        self._output = output
        height, width = photo.pixels.shape[:2]
        scale = min(1.0, _GIF_SIDE / max(height, width))
        self._size = max(1, round(width * scale)), max(1, round(height * scale))
        self._alpha = photo.alpha
        self._frames = [self._frame(photo.pixels)] if extras.gif else []

    def add(self, event: StylizeStep) -> None:
        if event.image is None:
            return
        pixels = to_pixels(event.image)
        if self._extras.gif and event.step % self._often == 0:
            self._frames.append(self._frame(pixels))
        if self._extras.save_every and event.step % self._extras.save_every == 0:
            write_image(self._extras.step_path(self._output, event.step), pixels, self._alpha)

    def finish(self, pixels: np.ndarray) -> None:
        if self._extras.gif:
            frames = [*self._frames, *[self._frame(pixels)] * 10]
            write_gif(self._extras.gif_path(self._output), frames, _GIF_SECONDS)

    def _frame(self, pixels: np.ndarray) -> np.ndarray:
        shown = pixels if self._alpha is None else lay_on_white(pixels, self._alpha)
        return resize_pixels(shown, self._size)


def read_start(settings: StylizeSettings) -> DecodedImage | None:
    """The image that `settings.init` names; None where it names none.

    Raises:
        DataError: it cannot be read.
    """
    if settings.init in INITS or settings.starts_painted:
        return None
    return read_photo(Path(settings.init), settings.size)


def read_painted_start(settings: StylizeSettings, device: torch.device) -> Paint | None:
    """What `settings.init` paints the photo with for a start; None where it names no trained style.

    Raises:
        ModelError: it is damaged.
    """
    return mixed(load_style(settings.init), False, device, seed=settings.seed) if settings.starts_painted else None


def read_photo(path: Path, size: int | None) -> DecodedImage:
    """Read an image and bring its longest side to `size`, or leave it as it is for None.

    Under its transparent pixels are the colours of those around.
    """
    image = fill_transparent(read_image(path, size, on_white=False))
    return image if size is None else resize_image(image, size)
