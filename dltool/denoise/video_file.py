"""A noisy video in, a clean one with the same times and sound out, frame after frame."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from dltool.denoise.denoiser import Denoiser
from dltool.denoise.settings import DenoiseSettings
from dltool.denoise.single_image import denoise
from dltool.images.batch import FileDone, FileStep
from dltool.images.folder import Job
from dltool.images.video import FrameStore, VideoFrames, file_mark


@dataclass(frozen=True)
class DenoisedVideo:
    """A video that has been written: its size, width and height, and its frames."""

    size: tuple[int, int]
    frames: int

    def figures(self, takes_all: bool) -> dict[str, Any]:
        """The figures as the JSON document has them, and a note for people."""
        return {"size": self.size, "frames": self.frames, "note": f"{self.frames} frames"}


def denoise_video(
    job: Job,
    denoiser: Denoiser | None,
    settings: DenoiseSettings,
    device: torch.device,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[FileStep | FileDone]:
    """Denoise a video's frames one by one; those that are done stay on disk until all are, where a next run goes on.

    Yields:
        A FileStep with each step of a frame, its number and count those of the frames; at the end a FileDone, whose
        result is a DenoisedVideo.

    Raises:
        DataError: the video cannot be read.
        SettingsError: there are frames of a run with other settings.
    """
    frames = VideoFrames(job.input)
    made_by = {"input": file_mark(job.input), "settings": asdict(settings)}
    store = FrameStore(job.output, made_by | {"network": None if denoiser is None else denoiser.fingerprint()})
    for number, pixels in enumerate(frames, start=1):
        if number in store:
            continue
        steps = denoise(pixels, denoiser, settings, device)
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                store.keep(number, np.broadcast_to(end.value.pixels, pixels.shape))
                break
            yield FileStep(job, number, len(frames), step, (number, number))
            if should_stop():
                return
    store.finish(job.output, job.input, frames)
    yield FileDone(job, "done", result=DenoisedVideo(frames.size, len(frames)))
