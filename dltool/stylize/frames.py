"""Moving images: each frame starts from the last result, carried along; a term holds still what stands still."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dltool.events import mapped
from dltool.images.read import DecodedImage
from dltool.images.tensors import to_pixels, to_tensor
from dltool.images.transparency import fill_transparent, visible_share
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.motion import carry, motion
from dltool.stylize.objective import Hold
from dltool.stylize.optimize import StyleTargets, StylizeResult, StylizeStep, first_image, stylize
from dltool.stylize.settings import StylizeSettings

_STILL = 0.04  # a change of a pixel, in [0, 1], that counts as half of a movement
_LATER_SHARE = 0.4


@dataclass(frozen=True)
class FrameStep:
    """One evaluation for frame `number` (from 1) of `count`."""

    number: int
    count: int
    step: StylizeStep


@dataclass(frozen=True)
class FrameDone:
    """A finished frame: H × W × 3 uint8 pixels, and its alpha channel if it has one."""

    number: int
    count: int
    pixels: np.ndarray
    alpha: np.ndarray | None
    result: StylizeResult


class FrameSource(Protocol):
    """Frames in order, read as they are asked for, and how many there are."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[np.ndarray | DecodedImage | None]: ...


def stylize_frames(
    frames: FrameSource,
    style: StyleTargets,
    network: FeatureNetwork,
    settings: StylizeSettings,
    device: torch.device,
    hold_weight: float = 200.0,
    ready: Callable[[int], np.ndarray | None] = lambda number: None,
    init: Tensor | None = None,
) -> Iterator[FrameStep | FrameDone]:
    """Stylize frames of one size, H × W × 3 uint8 pixels or images with transparency, in time; each is asked for once.

    The first frame is an image like any other. Every later one starts from the last result, carried along the motion
    that is found between the two frames, where the scene is the same after that, and from its own start elsewhere. It
    is worked on at full size only, for fewer steps, and pays `hold_weight` times the mean squared difference to what
    was carried, weighted by how little each pixel changed.
    A frame that is None is passed over. Frames whose pixels `ready` gives, by number from 1, are not made again; what
    follows goes on from them. `init` is the start where
    `settings.init` names a file; of any size.
    """
    later = replace(settings, scales=1, steps=max(1, round(_LATER_SHARE * settings.steps)), init="given")
    previous: Tensor | None = None
    last: Tensor | None = None
    for number, frame in enumerate(frames, start=1):
        if frame is None:
            continue
        frame = fill_transparent(frame) if isinstance(frame, DecodedImage) else _opaque(frame)
        photo, opacity = to_tensor(frame.pixels), visible_share(frame.alpha)
        there = ready(number)
        if there is not None:
            previous, last = photo, to_tensor(fill_transparent(replace(frame, pixels=there)).pixels)
            continue
        if previous is None or photo.shape != previous.shape:
            events = stylize(photo, style, network, settings, device, init=init, opacity=opacity)
        else:
            flow = motion(previous, photo)
            still, carried = stillness(carry(previous, flow), photo), carry(last, flow)
            start = torch.lerp(first_image(photo, style, settings, init), carried, still)
            hold = Hold(carried, hold_weight * still)
            events = stylize(photo, style, network, later, device, init=start, hold=hold, opacity=opacity)
        result = yield from mapped(events, partial(FrameStep, number, len(frames)))
        pixels = to_pixels(result.image)
        # From the rounded pixels, so that going on from a file is the same as going on from memory.
        previous, last = photo, to_tensor(fill_transparent(replace(frame, pixels=pixels)).pixels)
        yield FrameDone(number, len(frames), pixels, frame.alpha, result)


def _opaque(pixels: np.ndarray) -> DecodedImage:
    return DecodedImage(pixels, None, pixels.shape[1::-1])


def stillness(before: Tensor, now: Tensor) -> Tensor:
    """How still each pixel of a 1 × 3 × H × W image stands: 1 × 1 × H × W, 1 where nothing changed, towards 0.

    What changes is spread by a few pixels, so that the edge of a moving thing moves with it.
    """
    change = (now - before).abs().amax(1, keepdim=True)
    change = torch.nn.functional.max_pool2d(change, 5, 1, 2)
    return torch.exp2(-((change / _STILL) ** 2))
