"""Moving images of files: an animation becomes an animation, a folder of frames a folder of frames."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dltool.device import memory_errors
from dltool.images.batch import FileDone, FileStep
from dltool.images.folder import Job
from dltool.images.read import fit_longest, read_frames, read_image
from dltool.images.tensors import resize_pixels
from dltool.images.write import write_gif, write_image
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.frames import FrameDone, FrameStep, stylize_frames
from dltool.stylize.settings import StylizeSettings
from dltool.stylize.styles import Style
from dltool.stylize.targets import StyleTargets, read_style


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
) -> Iterator[FileStep | FileDone]:
    """Stylize the frames of one animation whose output is a GIF, or one job's image after the other, in time.

    Of a folder every frame is written when it is done; those that are there are where the next ones go on from. A
    FileStep's step is a FrameStep; a FileDone's result is a Clip, or a frame's StylizeResult.

    Args:
        should_stop: asked after every step; when it says so, the frame at work is given up.

    Raises:
        DataError: a frame or the painting cannot be read.
    """

    def work(frames: list[np.ndarray], ready: Mapping[int, np.ndarray]) -> Iterator[FrameStep | FrameDone]:
        if settings.size is not None:
            frames = [resize_pixels(frame, fit_longest(frame.shape[1::-1], settings.size)) for frame in frames]
        return stylize_frames(frames, targets, network, settings, device, hold_weight, ready)

    with memory_errors("try a smaller --size"):
        targets = StyleTargets(network, read_style(style, settings))
        clip = len(jobs) == 1 and jobs[0].output.suffix.lower() == ".gif"
        if clip:
            frames, seconds = read_frames(jobs[0].input)
        else:
            frames, seconds = [read_image(job.input, settings.size).pixels for job in jobs], 0.0
            yield from (FileDone(job, "skipped") for job in jobs if job.exists)
        ready = {number: read_image(job.output).pixels for number, job in enumerate(jobs, start=1) if job.exists}
        done = []
        for event in work(frames, ready):
            job = jobs[0] if clip else jobs[event.number - 1]
            if isinstance(event, FrameStep):
                yield FileStep(job, event.number, event.count, event, (event.number, event.number))
                if should_stop():
                    return
            elif clip:
                done.append(event.pixels)
            else:
                write_image(job.output, event.pixels)
                yield FileDone(job, "done", result=event.result)
        if clip:
            write_gif(jobs[0].output, done, seconds)
            yield FileDone(jobs[0], "done", result=Clip(done[0].shape[1::-1], len(done)))
