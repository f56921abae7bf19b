"""Moving images of files: an animation becomes an animation, a folder of frames a folder of frames."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dltool.device import memory_errors
from dltool.errors import DataError
from dltool.images.animation import FrameSpool, write_animation
from dltool.images.batch import FileDone, FileStep
from dltool.images.folder import Job
from dltool.images.read import DecodedImage, Frames, read_frames, read_image
from dltool.images.tensors import resize_image, to_tensor
from dltool.images.transparency import fill_transparent
from dltool.images.video import FrameStore, VideoFrames, file_mark, is_video
from dltool.images.write import write_image
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.files import read_photo, read_start
from dltool.stylize.frames import FrameDone, FrameSource, FrameStep, stylize_frames
from dltool.stylize.settings import StylizeSettings
from dltool.stylize.styles import Style
from dltool.stylize.targets import StyleTargets, read_style

MakeFrames = Callable[[FrameSource, Callable[[int], np.ndarray | None]], Iterator[FrameStep | FrameDone]]
"""Makes frames in order, but for those whose pixels are there already, by number from 1."""


@dataclass(frozen=True)
class Clip:
    """An animation that has been written: so many frames of this size, width and height."""

    size: tuple[int, int]
    frames: int


def frame_files(
    jobs: Sequence[Job],
    style: Style,
    network: FeatureNetwork,
    settings: StylizeSettings,
    device: torch.device,
    hold_weight: float = 200.0,
    should_stop: Callable[[], bool] = lambda: False,
    animated: bool = False,
) -> Iterator[FileStep | FileDone]:
    """Stylize the frames of one animation, or one job's image after the other, in time; each is read at its turn.

    An animation keeps how long each frame is shown, how often it is repeated and its transparency. Of a folder every
    frame is written when it is done, with its own transparency; those that are there are where the next ones go on
    from, and one that cannot be read fails alone. A video keeps the times of its frames and its sound. A FileStep's
    step is a FrameStep; a FileDone's result is a Clip, or a frame's StylizeResult.

    Args:
        should_stop: asked after every step; when it says so, the frame at work is given up.
        animated: the one job's input is an animation, and its output is to be one.

    Raises:
        DataError: an animation's frame or the painting cannot be read.
    """

    def begin() -> MakeFrames:
        targets = StyleTargets(network, read_style(style, settings))
        init = read_start(settings)
        start = None if init is None else to_tensor(init.pixels)
        return lambda frames, ready: stylize_frames(
            frames, targets, network, settings, device, hold_weight, ready, start
        )

    made_by = {"style": style, "layers": [network.content_layers, network.style_layers], "hold_weight": hold_weight}
    return made_frames(jobs, settings, begin, made_by, should_stop, animated)


def made_frames(
    jobs: Sequence[Job],
    settings: StylizeSettings,
    begin: Callable[[], MakeFrames],
    made_by: dict[str, Any],
    should_stop: Callable[[], bool] = lambda: False,
    animated: bool = False,
) -> Iterator[FileStep | FileDone]:
    """Do what `frame_files` does, by whatever `begin` says makes the frames.

    Args:
        made_by: what of the making, beside input and settings, a video's frames depend on.
    """
    if is_video(jobs[0].input):
        yield from _video(jobs[0], settings, begin, made_by, should_stop)
        return
    with memory_errors("try a smaller --size"), FrameSpool() as spool:
        make = begin()
        clip = read_frames(jobs[0].input)[0] if animated else None
        frames = _FolderFrames(jobs, settings) if clip is None else _ClipFrames(clip, settings)
        if clip is None:
            yield from (FileDone(job, "skipped") for job in jobs if job.exists)
        for event in make(frames, frames.ready):
            job = jobs[0] if clip is not None else jobs[event.number - 1]
            yield from frames.failures()
            if isinstance(event, FrameStep):
                yield FileStep(job, event.number, event.count, event, (event.number, event.number))
                if should_stop():
                    return
            elif clip is not None:
                spool.add(event.pixels, event.alpha)
            else:
                write_image(job.output, event.pixels, event.alpha)
                yield FileDone(job, "done", result=event.result)
        yield from frames.failures()
        if clip is not None:
            write_animation(jobs[0].output, spool.animation(clip.milliseconds, clip.loop))
            yield FileDone(jobs[0], "done", result=Clip(event.pixels.shape[1::-1], len(spool)))


def _video(
    job: Job,
    settings: StylizeSettings,
    begin: Callable[[], MakeFrames],
    made_by: dict[str, Any],
    should_stop: Callable[[], bool],
) -> Iterator[FileStep | FileDone]:
    """Stylize a video, of which a few frames are in memory; those that are done are on disk until all are."""
    with memory_errors("try a smaller --size"):
        frames = VideoFrames(job.input, settings.size)
        store = FrameStore(job.output, made_by | {"input": file_mark(job.input), "settings": settings})
        for event in begin()(frames, store.get):
            if isinstance(event, FrameStep):
                yield FileStep(job, event.number, event.count, event, (event.number, event.number))
                if should_stop():
                    return
            else:
                store.keep(event.number, event.pixels)
        store.finish(job.output, job.input, frames)
        yield FileDone(job, "done", result=Clip(frames.own_size, len(frames)))


class _FolderFrames:
    """The images of jobs at the size that is asked for, each read when its turn comes, and those that are done."""

    def __init__(self, jobs: Sequence[Job], settings: StylizeSettings) -> None:
        self._jobs, self._settings = jobs, settings
        self._failures: list[FileDone] = []

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[DecodedImage | None]:
        for job in self._jobs:
            try:
                frame = read_photo(job.input, self._settings.size)
            except DataError as error:
                frame = None
                if not job.exists:
                    self._failures.append(FileDone(job, "failed", error))
            yield frame

    def ready(self, number: int) -> np.ndarray | None:
        """The pixels of a frame that was written before; None for others."""
        job = self._jobs[number - 1]
        return read_image(job.output, on_white=False).pixels if job.exists else None

    def failures(self) -> list[FileDone]:
        """The ends of those that could not be read, each once."""
        told, self._failures = self._failures, []
        return told


class _ClipFrames:
    """An animation's frames at the size that is asked for."""

    def __init__(self, clip: Frames, settings: StylizeSettings) -> None:
        self._clip, self._size = clip, settings.size

    def __len__(self) -> int:
        return len(self._clip)

    def __iter__(self) -> Iterator[DecodedImage]:
        for frame in map(fill_transparent, self._clip.with_alpha()):
            yield frame if self._size is None else resize_image(frame, self._size)

    def ready(self, number: int) -> None:
        """None of them was written before."""

    def failures(self) -> list[FileDone]:
        """An animation fails as a whole."""
        return []
