"""Denoising files: noisy images in, clean ones out, with measures and a page of before and after where wanted."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dltool.denoise.comparison import compare_page
from dltool.denoise.denoiser import Denoiser
from dltool.denoise.measure import Quality, measure_quality
from dltool.denoise.self_supervised import LearnStep
from dltool.denoise.settings import DenoiseFiles, DenoiseSettings, compare_path
from dltool.denoise.single_image import Denoised, denoise
from dltool.denoise.tiles import TileDone
from dltool.denoise.video_file import denoise_video
from dltool.errors import DataError, SettingsError
from dltool.events import mapped
from dltool.images.batch import FileDone, FileStep, Finish, OpenedFile, run_batch
from dltool.images.deep import read_deep_image
from dltool.images.folder import Job, OnExisting, claim_results, plan_outputs
from dltool.images.read import DecodedImage
from dltool.images.video import is_video, plan_video
from dltool.images.write import keeps_16_bits, to_eight_bits, write_image


@dataclass(frozen=True)
class DenoisedFile:
    """What is known of a file that has been written.

    Attributes:
        image: without its noise; the file may hold fewer bits.
        size: width and height.
        bits: of each channel of the written file.
        notes: what of the image's file is not in the written one, in words.
        before, after: how near the noisy and the written image are to the clean one; None without a reference.
    """

    image: Denoised
    size: tuple[int, int]
    bits: int
    notes: tuple[str, ...] = ()
    before: Quality | None = None
    after: Quality | None = None

    def figures(self, takes_all: bool) -> dict[str, Any]:
        """The figures as the JSON document has them, and a note for people.

        Args:
            takes_all: no noise was asked to stay.
        """
        noise = self.image.noise
        found = {"sigma": round(255 * noise.fine, 2), "coarse_sigma": round(255 * noise.coarse, 2)}
        item: dict[str, Any] = {
            "size": self.size,
            "bits": self.bits,
            "seconds": round(self.image.seconds, 3),
            "noise": found,
            "dither": round(255 * self.image.dither, 2),
            "noise_level": round(255 * self.image.floor, 2),
            "noise_left": round(255 * self.image.left, 2),
        }
        notes = ["no noise: few colours, left as it is"] if self.image.drawn else [f"noise level {found['sigma']:.1f}"]
        if self.image.wrong:
            notes.append(f"{100 * self.image.wrong:.1f} % of the pixels were black or white errors and are replaced")
        if self.image.keeps_noise and takes_all:
            left = f"{255 * self.image.left:.0f} of {255 * self.image.floor:.0f}"
            notes.append(
                f"noise is left in ({left}); try --sigma {255 * self.image.noise.coarse:.0f}, or --method self"
            )
        if self.image.dither:
            notes = [f"noise level {found['coarse_sigma']:.1f} at half the size, dithered"]
        if self.before is not None and self.after is not None:
            item["psnr"] = {"before": self.before.psnr, "after": self.after.psnr}
            item["ssim"] = {"before": self.before.ssim, "after": self.after.ssim}
            notes.append(f"PSNR {self.before.psnr:.2f} -> {self.after.psnr:.2f} dB")
            notes.append(f"SSIM {self.before.ssim:.4f} -> {self.after.ssim:.4f}")
        item["note"] = ", ".join([*notes, *self.notes])
        return item


@dataclass(frozen=True)
class _Noisy:
    """An image, and the clean one to measure by."""

    image: DecodedImage
    clean: np.ndarray | None


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


def plan_files(files: DenoiseFiles, on_existing: OnExisting, protected: Sequence[Path] = ()) -> list[Job]:
    """Pair every image with the file to write, and see that nothing is in the way of the pages either.

    Args:
        protected: files that may not be written, beside the images and references.

    Raises:
        DataError: an image or the reference is missing.
        SettingsError: see `plan_outputs`; and a page of before and after exists, or would be written twice.
    """
    reference = files.reference
    if reference is not None and not reference.exists():
        raise DataError(f"--reference {reference}: no such file or folder")
    read_too = [*protected, *([] if reference is None else [reference])]
    if any(is_video(path) for path in files.images):
        if len(files.images) > 1 or reference is not None or files.compare:
            raise SettingsError("IMAGE: a video goes alone, and without --reference and --compare")
        return plan_video(files.images[0], files.output, on_existing, read_too)
    jobs = plan_outputs(files.images, files.output, ".png", on_existing, read_too)
    if files.compare:
        _check_pages(jobs, files.output, on_existing)
    return jobs


def _check_pages(jobs: Sequence[Job], output: Path, on_existing: OnExisting) -> None:
    """The pages of before and after must not be there either, nor be somebody else's."""
    taken = {job.output for job in jobs} | {job.input for job in jobs}
    beside = []
    for job in jobs:
        page = compare_path(job.output)
        if page in taken:
            raise SettingsError(f"{page}: would be written twice; choose another -o")
        taken.add(page)
        if page.exists() and on_existing is OnExisting.ERROR:
            raise SettingsError(f"{page}: output exists; give --overwrite or --skip-existing")
        beside += [] if job.exists else [page]
    if not any(job.output == output for job in jobs):
        claim_results(output, jobs, beside)


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
    """Denoise every job's input into its output, as `run_batch` does; a FileDone's result is a DenoisedFile, of a
    video a DenoisedVideo.

    An image is written in the kind that the output's suffix names, with its alpha channel, and with 16 bits where it
    came with them and that kind can hold them.

    Args:
        denoiser: the trained network; None with the method `self`.
        reference: the clean image, or a folder of them, to measure by.
        compare: also write the page of before and after.
        should_stop: asked after every step; when it says so, the image at work is given up, what is finished is
            written, and the generator ends.

    Yields:
        A FileStep with a LearnStep or a TileDone for each step of an image, and each file's FileDone.
    """

    if is_video(jobs[0].input):
        yield from denoise_video(jobs[0], denoiser, settings, device, should_stop)
        return

    def work(files: list[OpenedFile[_Noisy]]) -> Generator[tuple[int, LearnStep | TileDone], None, list[Finish]]:
        (file,) = files
        steps = denoise(file.content.image.pixels, denoiser, settings, device)
        result = yield from mapped(steps, lambda step: (0, step))
        return [_Output(file.job.output, file.content, result, compare).write]

    yield from run_batch(
        *(jobs, lambda job: _read(job.input, reference), work, workers, "try a smaller --tile"), should_stop=should_stop
    )


class _Output:
    """A denoised image as its file will hold it, measured where there is a clean one."""

    def __init__(self, path: Path, noisy: _Noisy, result: Denoised, compare: bool) -> None:
        pixels = result.pixels[..., 0] if result.pixels.shape[2] == 1 else result.pixels
        if not keeps_16_bits(path, pixels):
            pixels = to_eight_bits(pixels)
        before = after = None
        if noisy.clean is not None:
            before = measure_quality(noisy.image.pixels, noisy.clean)
            after = measure_quality(_three_channels(pixels), noisy.clean)
        self._path, self._noisy, self._pixels, self._compare = path, noisy.image, pixels, compare
        size, bits = pixels.shape[1::-1], 8 * pixels.itemsize
        notes = noisy.image.notes
        if bits < 8 * noisy.image.pixels.itemsize:
            notes = (*notes, "16 bits are not kept in this kind of file")
        self._done = DenoisedFile(result, size, bits, notes, before, after)

    def write(self) -> DenoisedFile:
        alpha = self._noisy.alpha
        if alpha is not None and alpha.dtype != self._pixels.dtype:
            alpha = to_eight_bits(alpha)
        if self._compare:  # first, because the image's presence says that all is done
            write_image(compare_path(self._path), self._page())
        lost = write_image(self._path, self._pixels, alpha, self._noisy.metadata)
        return replace(self._done, notes=(*self._done.notes, *lost))

    def _page(self) -> np.ndarray:
        noisy, restored = (to_eight_bits(_three_channels(pixels)) for pixels in (self._noisy.pixels, self._pixels))
        figures = [f": {q.psnr:.2f} dB, SSIM {q.ssim:.3f}" if q else "" for q in (self._done.before, self._done.after)]
        title = f"{self._path.name}: noise level {255 * self._done.image.noise.fine:.1f} of 255"
        return compare_page(noisy, restored, (f"before{figures[0]}", f"after{figures[1]}"), title)


def _read(path: Path, reference: Path | None) -> _Noisy:
    image = read_deep_image(path)
    if reference is None:
        return _Noisy(image, None)
    clean_path = find_reference(reference, path)
    clean = read_deep_image(clean_path).pixels
    if clean.shape != image.pixels.shape:
        sizes = [f"{pixels.shape[1]} x {pixels.shape[0]}" for pixels in (image.pixels, clean)]
        raise DataError(f"{path}: {sizes[0]} pixels, but the reference {clean_path} has {sizes[1]}")
    return _Noisy(image, clean)


def _three_channels(pixels: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.atleast_3d(pixels), (*pixels.shape[:2], 3))
