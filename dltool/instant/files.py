"""Photos and moving images restyled by trained styles: the doors of `dltool stylize`, one pass for each image."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from dltool.errors import SettingsError
from dltool.images.batch import FileDone, FileStep, Finish, OpenedFile, run_batch
from dltool.images.folder import Job
from dltool.images.read import DecodedImage
from dltool.images.transparency import fill_transparent, visible_share
from dltool.images.write import write_image
from dltool.instant.painting import Paint, mixed, paint
from dltool.instant.style_file import blend, load_style
from dltool.stylize.files import read_photo, same_shape
from dltool.stylize.frames import FrameDone, FrameSource, FrameStep
from dltool.stylize.masks import Mask, read_mask
from dltool.stylize.settings import StylizeSettings
from dltool.stylize.styles import Style


@dataclass(frozen=True)
class PaintStep:
    """An image is about to be painted, in the one step that it takes."""

    step: int = 1
    steps: int = 1


@dataclass(frozen=True)
class PaintResult:
    """An image of this size, width and height, that has been painted; `notes` say what was lost of its file."""

    size: tuple[int, int]
    seconds: float
    notes: tuple[str, ...] = ()


class StyleBox:
    """Trained styles by name, each read when it is first asked for and kept while its images last; and the mask."""

    def __init__(
        self, styles: Sequence[Style], settings: StylizeSettings, device: torch.device, mask: Path | None = None
    ) -> None:
        """Read the mask, and the only style.

        Raises:
            DataError: the mask cannot be read.
            ModelError: a style is missing, damaged, or of another command.
            SettingsError: styles that were not learnt together cannot be blended, nor strokes be of any size.
        """
        self._styles = {style.name: style for style in styles}
        self._settings = settings
        self._device = device
        self.mask: Mask | None = None
        if mask is not None:
            self.mask = read_mask(mask, max(len(style.images) for style in styles))
        self._name: str | None = None
        self._paint: Paint | None = None
        if len(styles) == 1:
            self._take(styles[0].name)

    def _take(self, name: str) -> Paint:
        if self._paint is None or name != self._name:
            style = blend([(load_style(path), weight) for path, weight in self._styles[name].images])
            regions = self.mask is not None and self.mask.has_labels
            if regions and len(style.paintings) != len(self.mask.layers):
                raise SettingsError("--mask: a region for each painting is needed; give the paintings' own model files")
            scale, seed = self._settings.style_scale, self._settings.seed
            self._name, self._paint = name, mixed(style, regions, self._device, scale, seed)
        return self._paint

    def restyle(self, photo: DecodedImage, name: str) -> np.ndarray:
        """The pixels of a photo in the style called `name`."""
        mask = None if self.mask is None else self.mask.at(photo.pixels.shape[1::-1])
        how = self._settings.strength, self._settings.preserve_color
        return paint(photo.pixels, self._take(name), *how, mask, visible_share(photo.alpha))


def paint_files(
    jobs: Sequence[Job],
    styles: Sequence[Style],
    settings: StylizeSettings,
    device: torch.device,
    workers: int = 1,
    mask: Path | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[FileStep | FileDone]:
    """Do every job as `run_batch` does; a FileDone's result is a PaintResult. Raises what StyleBox does."""
    box = StyleBox(styles, settings, device, mask)

    def work(photos: Sequence[OpenedFile[DecodedImage]]) -> Generator[tuple[int, PaintStep], None, list[Finish]]:
        (photo,) = photos
        started = time.perf_counter()
        yield 0, PaintStep()
        pixels = box.restyle(photo.content, photo.job.variant)
        size = pixels.shape[1::-1]
        notes = photo.content.notes
        if box.mask is not None and not same_shape(box.mask.size, size):
            width, height = box.mask.size
            notes = (*notes, f"the mask of {width}x{height} is of another shape and was stretched")
        result = PaintResult(size, time.perf_counter() - started, notes)
        return [partial(_write, photo.job.output, pixels, photo.content, result)]

    def read(job: Job) -> DecodedImage:
        return read_photo(job.input, settings.size)

    yield from run_batch(jobs, read, work, workers, "try a smaller --size", should_stop=should_stop)


def _write(output: Path, pixels: np.ndarray, photo: DecodedImage, result: PaintResult) -> PaintResult:
    lost = write_image(output, pixels, photo.alpha, photo.metadata)
    return PaintResult(result.size, result.seconds, (*result.notes, *lost))


def paint_frames(
    box: StyleBox, frames: FrameSource, ready: Callable[[int], np.ndarray | None]
) -> Iterator[FrameStep | FrameDone]:
    """Paint frames one by one, as `dltool.stylize.frames.stylize_frames` does in its own way."""
    for number, frame in enumerate(frames, start=1):
        if frame is None or ready(number) is not None:
            continue
        if not isinstance(frame, DecodedImage):
            frame = DecodedImage(frame, None, frame.shape[1::-1])
        started = time.perf_counter()
        yield FrameStep(number, len(frames), PaintStep())
        pixels = box.restyle(fill_transparent(frame), "")
        result = PaintResult(pixels.shape[1::-1], time.perf_counter() - started)
        yield FrameDone(number, len(frames), pixels, frame.alpha, result)
