"""Denoising files: images are read ahead and written behind, and a bad one never stops the rest."""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from dltool.denoise.comparison import compare_page
from dltool.denoise.denoiser import Denoiser
from dltool.denoise.measure import Quality, measure_quality
from dltool.denoise.self_supervised import LearnStep
from dltool.denoise.settings import DenoiseFiles, DenoiseSettings, compare_path
from dltool.denoise.single_image import Denoised, denoise
from dltool.denoise.tiles import TileDone
from dltool.device import memory_errors
from dltool.errors import DataError, DltoolError, SettingsError
from dltool.images.deep import read_deep_image
from dltool.images.folder import Job, OnExisting, plan_outputs
from dltool.images.read import DecodedImage
from dltool.images.stream import WriteBehind, read_ahead, write_error
from dltool.images.write import keeps_16_bits, to_eight_bits, write_image


@dataclass(frozen=True)
class FileStep:
    """Something was done for the image that is file `number` (from 1) of `count`."""

    job: Job
    number: int
    count: int
    step: LearnStep | TileDone


@dataclass(frozen=True)
class FileDone:
    """A file that has been written, was there already, or failed; the rest is of a written one only.

    Attributes:
        size: width and height.
        bits: of each channel of the written file.
        before, after: how near the noisy and the written image are to the clean one; None without a reference.
    """

    job: Job
    status: str
    error: DltoolError | None = None
    size: tuple[int, int] | None = None
    bits: int = 8
    result: Denoised | None = None
    before: Quality | None = None
    after: Quality | None = None


def find_reference(reference: Path, image: Path) -> Path:
    """The clean image for a noisy one: `reference` itself, or in a folder the file of the same name or stem.

    Raises:
        DataError: the folder has none, or several.
    """
    if not reference.is_dir():
        return reference
    if (reference / image.name).is_file():
        return reference / image.name
    same = [path for path in reference.iterdir() if path.is_file() and path.stem == image.stem]
    if len(same) != 1:
        raise DataError(f"{image}: {len(same) or 'no'} pictures called {image.stem} in --reference {reference}")
    return same[0]


def plan_files(
    files: DenoiseFiles, on_existing: OnExisting, protected: Sequence[Path] = (), share: tuple[int, int] = (0, 1)
) -> list[Job]:
    """Pair every image with the file to write, and see that nothing is in the way of the pages either.

    Args:
        protected: files that may not be written, beside the images and references.
        share: this process's number and how many there are.

    Raises:
        DataError: an image or the reference is missing.
        SettingsError: see `plan_outputs`; and a page of before and after exists, or would be written twice.
    """
    reference = files.reference
    if reference is not None and not reference.exists():
        raise DataError(f"--reference {reference}: no such file or folder")
    read_too = [*protected, *([] if reference is None else [reference])]
    jobs = plan_outputs(files.images, files.output, ".png", on_existing, read_too, share=share)
    if files.compare:
        _check_pages(jobs, on_existing)
    return jobs


def _check_pages(jobs: Sequence[Job], on_existing: OnExisting) -> None:
    """The pages of before and after must not be there either, nor be somebody else's."""
    taken = {job.output for job in jobs} | {job.input for job in jobs}
    for job in jobs:
        page = compare_path(job.output)
        if page in taken:
            raise SettingsError(f"{page}: would be written twice; choose another -o")
        taken.add(page)
        if page.exists() and on_existing is OnExisting.ERROR:
            raise SettingsError(f"{page}: output exists; give --overwrite or --skip-existing")


def denoise_files(
    jobs: Sequence[Job],
    denoiser: Denoiser | None,
    settings: DenoiseSettings,
    device: torch.device,
    workers: int = 1,
    reference: Path | None = None,
    compare: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[FileStep | FileDone]:
    """Denoise every job's input into its output, in order; jobs marked `exists` are skipped.

    An image is written in the kind that the output's suffix names, with its alpha channel, and with 16 bits where it
    came with them and that kind can hold them.

    Args:
        denoiser: the trained network; None with the method `self`.
        reference: the clean image, or a folder of them, to measure by.
        compare: also write the page of before and after.
        should_stop: asked after every step; when it says so, the image at work is given up, what is finished is
            written, and the generator ends.
    """
    yield from (FileDone(job, "skipped") for job in jobs if job.exists)
    waiting = [job for job in jobs if not job.exists]
    written: deque[tuple[FileDone, Future[None]]] = deque()
    images = read_ahead(waiting, lambda job: _read(job.input, reference), workers)
    with WriteBehind() as writer:
        for number, (job, read) in enumerate(images, start=1):
            if isinstance(read, DltoolError):
                yield FileDone(job, "failed", read)
                continue
            image, clean = read
            steps = denoise(image.pixels, denoiser, settings, device)
            try:
                with _failures_of(job.input):
                    result = yield from _follow(steps, partial(FileStep, job, number, len(waiting)), should_stop)
            except DltoolError as error:
                yield FileDone(job, "failed", error)
                continue
            if result is None:
                break
            output = _Output(job.output, image, result)
            done = replace(output.done(job), **output.qualities(clean))
            written.append((done, writer.submit(partial(output.write, done, compare))))
            while written and written[0][1].done():
                yield _finish(*written.popleft())
            if should_stop():
                break
        while written:
            yield _finish(*written.popleft())


def _follow(
    steps: Generator[LearnStep | TileDone, None, Denoised],
    told: Callable[[LearnStep | TileDone], FileStep],
    should_stop: Callable[[], bool],
) -> Generator[FileStep, None, Denoised | None]:
    """Yield what `told` makes of every step, and return the image; None if it was given up."""
    with closing(steps):
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            yield told(step)
            if should_stop():
                return None


class _Output:
    """A denoised image as its file will hold it."""

    def __init__(self, path: Path, image: DecodedImage, result: Denoised) -> None:
        self._path, self._noisy, self._alpha, self._result = path, image.pixels, image.alpha, result
        pixels = result.pixels[..., 0] if result.pixels.shape[2] == 1 else result.pixels
        deep = keeps_16_bits(path, pixels, image.alpha)
        self._pixels = pixels if deep else to_eight_bits(pixels)

    def done(self, job: Job) -> FileDone:
        height, width = self._pixels.shape[:2]
        return FileDone(job, "done", None, (width, height), 8 * self._pixels.itemsize, self._result)

    def qualities(self, clean: np.ndarray | None) -> dict[str, Quality]:
        if clean is None:
            return {}
        return {
            "before": measure_quality(self._noisy, clean),
            "after": measure_quality(_three_channels(self._pixels), clean),
        }

    def write(self, done: FileDone, compare: bool) -> None:
        alpha = self._alpha
        if alpha is not None and alpha.dtype != self._pixels.dtype:
            alpha = to_eight_bits(alpha)
        write_image(self._path, self._pixels, alpha)
        if not compare:
            return
        noisy, restored = (to_eight_bits(_three_channels(pixels)) for pixels in (self._noisy, self._pixels))
        figures = [f": {q.psnr:.2f} dB, SSIM {q.ssim:.3f}" if q else "" for q in (done.before, done.after)]
        title = f"{self._path.name}: noise level {255 * self._result.noise.fine:.1f} of 255"
        page = compare_page(noisy, restored, (f"before{figures[0]}", f"after{figures[1]}"), title)
        write_image(compare_path(self._path), page)


def _read(path: Path, reference: Path | None) -> tuple[DecodedImage, np.ndarray | None]:
    image = read_deep_image(path)
    if reference is None:
        return image, None
    clean_path = find_reference(reference, path)
    clean = read_deep_image(clean_path).pixels
    if clean.shape != image.pixels.shape:
        sizes = [f"{pixels.shape[1]} x {pixels.shape[0]}" for pixels in (image.pixels, clean)]
        raise DataError(f"{path}: {sizes[0]} pixels, but the reference {clean_path} has {sizes[1]}")
    return image, clean


def _three_channels(pixels: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.atleast_3d(pixels), (*pixels.shape[:2], 3))


@contextmanager
def _failures_of(path: Path) -> Iterator[None]:
    """Name the image that memory does not suffice for."""
    try:
        with memory_errors("try a smaller --tile"):
            yield
    except DltoolError as error:
        raise type(error)(f"{path}: {error}") from error


def _finish(done: FileDone, writing: Future[None]) -> FileDone:
    error = write_error(writing)
    return done if error is None else FileDone(done.job, "failed", error)
