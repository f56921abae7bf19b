"""Moving images of files: an animation becomes an animation, a folder of frames a folder of frames."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from dltool.device import memory_errors
from dltool.images.animation import Animation, write_animation
from dltool.images.batch import FileDone, FileStep
from dltool.images.folder import Job
from dltool.images.read import DecodedImage, Frames, read_frames, read_image
from dltool.images.tensors import resize_image, to_tensor
from dltool.images.transparency import fill_transparent
from dltool.images.write import write_image
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.files import read_photo, read_start
from dltool.stylize.frames import FrameStep, stylize_frames
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
    animated: bool = False,
) -> Iterator[FileStep | FileDone]:
    """Stylize the frames of one animation, or one job's image after the other, in time.

    An animation keeps how long each frame is shown, how often it is repeated and its transparency. Of a folder every
    frame is written when it is done, with its own transparency; those that are there are where the next ones go on
    from. A FileStep's step is a FrameStep; a FileDone's result is a Clip, or a frame's StylizeResult.

    Args:
        should_stop: asked after every step; when it says so, the frame at work is given up.
        animated: the one job's input is an animation, and its output is to be one.

    Raises:
        DataError: a frame or the painting cannot be read.
    """
    with memory_errors("try a smaller --size"):
        targets = StyleTargets(network, read_style(style, settings))
        clip = read_frames(jobs[0].input)[0] if animated else None
        frames = [read_photo(job.input, settings.size) for job in jobs] if clip is None else _sized(clip, settings)
        if clip is None:
            yield from (FileDone(job, "skipped") for job in jobs if job.exists)
        ready = {
            number: read_image(job.output, on_white=False).pixels
            for number, job in enumerate(jobs, start=1)
            if job.exists and clip is None
        }
        init = read_start(settings)
        start = None if init is None else to_tensor(init.pixels)
        done = []
        for event in stylize_frames(frames, targets, network, settings, device, hold_weight, ready, start):
            job = jobs[0] if clip is not None else jobs[event.number - 1]
            if isinstance(event, FrameStep):
                yield FileStep(job, event.number, event.count, event, (event.number, event.number))
                if should_stop():
                    return
            elif clip is not None:
                done.append(event.pixels)
            else:
                write_image(job.output, event.pixels, frames[event.number - 1].alpha)
                yield FileDone(job, "done", result=event.result)
        if clip is not None:
            alpha = [frame.alpha for frame in frames]
            write_animation(jobs[0].output, Animation(done, alpha, clip.milliseconds, clip.loop))
            yield FileDone(jobs[0], "done", result=Clip(done[0].shape[1::-1], len(done)))


def _sized(clip: Frames, settings: StylizeSettings) -> list[DecodedImage]:
    """An animation's frames at the size that is asked for."""
    frames = (fill_transparent(frame) for frame in clip.with_alpha())
    return [frame if settings.size is None else resize_image(frame, settings.size) for frame in frames]
