"""Stylizing an image, or several of one size together: their own pixels are optimized, from coarse to fine."""

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dltool.events import mapped
from dltool.images.read import fit_longest
from dltool.stylize.budget import plan_memory
from dltool.stylize.canvas import Canvas, joint_objective
from dltool.stylize.descent import Descents
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.objective import Hold
from dltool.stylize.settings import StylizeSettings
from dltool.stylize.targets import StyleTargets, resize_tensor

__all__ = [
    "StyleTargets",
    "StylizeResult",
    "StylizeStep",
    "first_image",
    "scale_sizes",
    "stylize",
    "stylize_together",
]

_SMALLEST_SCALE = 32
_FIRST_SCALE = 256
_MOST_SCALES = 64  # the first of them is below a pixel
_FULL_SHARE_SIDE = 1024
_DETAIL = 0.5


@dataclass(frozen=True)
class StylizeStep:
    """One evaluation.

    Attributes:
        step, steps: number of this evaluation, and of all of them.
        size: width and height of the image at this scale.
        restarts: how often this scale's optimizer diverged and went on from the best image with a smaller step.
        tile: longest side that the network sees at once, or None where that is the whole image.
        seams: the tiles' losses are not quite the whole image's, so that their borders may show.
        image: the image as it is now, 1 × 3 × h × w on the CPU, at the steps that were asked for.
    """

    step: int
    steps: int
    size: tuple[int, int]
    loss: float
    content_loss: float
    style_loss: float
    restarts: int = 0
    tile: int | None = None
    seams: bool = False
    image: Tensor | None = None

    def remarks(self, last: "StylizeStep | None") -> list[str]:
        """What is out of the ordinary since the `last` step of the same image, in words."""
        lines = []
        if self.restarts and not (last is not None and last.restarts):
            lines.append(
                f"the loss ran away at step {self.step}; going on from the best picture so far with shorter steps"
            )
        if last is not None and last.tile is not None and self.tile is not None and self.tile < last.tile:
            lines.append(f"now in tiles of {self.tile} px")
        if self.seams:
            lines.append(
                f"this network sees tiles of {self.tile} px differently than the whole picture; "
                "where their borders show, a larger --max-memory or a smaller --size helps"
            )
        return lines


@dataclass(frozen=True)
class StylizeResult:
    """The best image of the last scale, 1 × 3 × H × W on the CPU in [0, 1], with its losses and what it took.

    `seconds` are the image's share where several were optimized together; `notes` say what of the photo's file is
    not in the one that was written.
    """

    image: Tensor
    steps: int
    seconds: float
    content_loss: float
    style_loss: float
    notes: tuple[str, ...] = ()


def stylize(
    content: Tensor,
    style: StyleTargets | Sequence[StyleTargets],
    network: FeatureNetwork,
    settings: StylizeSettings,
    device: torch.device,
    init: Tensor | None = None,
    mask: Tensor | None = None,
    hold: Hold | None = None,
    save_every: int = 0,
    opacity: Tensor | None = None,
) -> Generator[StylizeStep, None, StylizeResult]:
    """Yield a StylizeStep for every evaluation and return the StylizeResult.

    Args:
        content: 1 × 3 × H × W in [0, 1] on the CPU, already of the result's size.
        style: the style's targets; several of them need a mask.
        network: an entered FeatureNetwork on `device`.
        init: the start where `settings.init` names a file; of any size.
        mask: 1 × 1 × H × W in [0, 1] for where and how strongly the style goes, or with R styles 1 × R × H × W for
            the share of each at every pixel, adding up to 1. The result's size.
        hold: an image of the result's size to stay near to, and where.
        save_every: every so many steps the event holds the image; 0 for never.
        opacity: 1 × 1 × H × W in [0, 1], how much of each of the photo's pixels can be seen: the style goes there, and
            the photo's own colours and style are taken from there. None: all of them.

    Raises:
        DltoolError: the loss is not finite at the start.
        DeviceError: `settings.max_memory` is too little for this size.
    """
    work = stylize_together([content], style, network, settings, device, init, mask, hold, save_every, opacity)
    (result,) = yield from mapped(work, lambda numbered: numbered[1])
    return result


def stylize_together(
    contents: Sequence[Tensor],
    style: StyleTargets | Sequence[StyleTargets],
    network: FeatureNetwork,
    settings: StylizeSettings,
    device: torch.device,
    init: Tensor | None = None,
    mask: Tensor | None = None,
    hold: Hold | None = None,
    save_every: int = 0,
    opacity: Tensor | None = None,
) -> Generator[tuple[int, StylizeStep], None, list[StylizeResult]]:
    """Do what `stylize` does for N photos of one size, evaluated in one pass of the network at each step.

    Every event comes with the number, from 0, of its image; a step's N events come one after the other. Each image has
    its own optimizer, losses and best image. One evaluation is what it would be alone but for rounding; over many steps
    that grows to other strokes, with losses as good. `settings.time` is for each image, so that all together have N
    times as long. The mask and the opacity are those of all images.

    Raises:
        DltoolError, DeviceError: as `stylize` does, for any of the images.
    """
    started = time.perf_counter()
    count = len(contents)
    canvases = [Canvas(content, style, settings, mask, opacity) for content in contents]
    (size,) = {content.shape[:1:-1] for content in contents}
    sizes = scale_sizes(size, settings.scales)[-settings.steps :]
    shares = _split_steps(settings.steps, sizes)
    deadlines = _deadlines(started, count, settings, sizes, shares)
    starts = [canvas.start(init) for canvas in canvases]
    detailed = settings.init not in ("noise", "style")
    margin = canvases[0].margin
    images = [resize_tensor(start, margin.outer_size(sizes[0])) for start in starts]
    done = 0
    for number, (size, share, deadline) in enumerate(zip(sizes, shares, deadlines, strict=True)):
        for index, start in enumerate(starts):
            outer = margin.outer_size(size)
            larger = _enlarge(images[index], start, outer) if detailed else resize_tensor(images[index], outer)
            images[index] = larger.to(device)
            del larger
        if number == len(sizes) - 1:
            starts, start = [], None  # a large image's memory has a better use now
        plan = plan_memory(network, size, settings, device, count)
        objective = joint_objective(canvases, network, size, settings, device, plan.tile_side, hold, images)
        descents = Descents(objective, images, settings, plan.history_bytes)
        del images
        for _ in range(share):
            losses = descents.step()
            done += 1
            for index, (canvas, descent) in enumerate(zip(canvases, descents.each, strict=True)):
                shown = None
                if save_every and done % save_every == 0:
                    shown = canvas.finish(descent.best_image.cpu().clone(), size)
                figures = (*losses[index], descent.restarts, objective.tile_side, objective.seams)
                yield index, StylizeStep(done, sum(shares), size, *figures, shown)
            if time.perf_counter() > deadline:
                break
        ends = descents.finish()
        images = [image.to("cpu") for image, _ in ends]
        losses = [own for _, own in ends]
        del descents, descent, objective, ends
    results = [canvas.finish(image, size) for canvas, image in zip(canvases, images, strict=True)]
    seconds = (time.perf_counter() - started) / count
    return [
        StylizeResult(image, done, seconds, own.content, own.style) for image, own in zip(results, losses, strict=True)
    ]


def first_image(content: Tensor, style: StyleTargets, settings: StylizeSettings, init: Tensor | None = None) -> Tensor:
    """The image that `stylize` would start from, of the photo's size."""
    return Canvas(content, style, replace(settings, margin=0), None).start(init)


def scale_sizes(size: tuple[int, int], scales: int) -> list[tuple[int, int]]:
    """Sizes (width, height) from coarse to fine, each √2 larger; those with a side below 64 pixels are left out.

    With `scales` 0 the first has a longest side of about 256 pixels, and there are at least three.
    """
    longest = max(size)
    scales = min(scales, _MOST_SCALES)
    if scales == 0:
        scales = max(3, 1 + round(2 * math.log2(max(1, longest) / _FIRST_SCALE)))
    sides = [round(longest / 2 ** (0.5 * (scales - 1 - index))) for index in range(scales)]
    sizes = [fit_longest(size, side) for side in sides[:-1]]
    return [*(small for small in sizes if min(small) >= _SMALLEST_SCALE), size]


def _enlarge(image: Tensor, start: Tensor, size: tuple[int, int]) -> Tensor:
    """Take the image of one scale to the next, with half of the start's detail that the smaller size cannot hold.

    Without it each scale begins blurred and spends its steps on inventing edges that the photo has.
    """
    enlarged = resize_tensor(image, size)
    if image.shape == enlarged.shape:
        return enlarged
    detail = resize_tensor(start, size) - resize_tensor(resize_tensor(start, image.shape[:1:-1]), size)
    return enlarged.add_(detail, alpha=_DETAIL)


def _split_steps(steps: int, sizes: Sequence[tuple[int, int]]) -> list[int]:
    """Give the last scale three fifths of the steps and share the rest out evenly; every scale gets at least one.

    Beyond 1024 pixels a scale gets fewer, by its area: there is only fine grain left to find, and each step is dear.
    """
    count = len(sizes)
    share = max(1, 2 * steps // (5 * max(1, count - 1)))
    shares = [*[share] * (count - 1), max(1, steps - share * (count - 1))]
    limits = [max(4.0, share * min(1.0, (_FULL_SHARE_SIDE / max(size)) ** 2)) for size in sizes]
    return [
        own if max(size) <= _FULL_SHARE_SIDE else min(own, round(limit))
        for own, size, limit in zip(shares, sizes, limits, strict=True)
    ]


def _deadlines(
    started: float, count: int, settings: StylizeSettings, sizes: list[tuple[int, int]], shares: list[int]
) -> list[float]:
    """When each scale must end: the time of `count` images shared out by the work, steps times pixels, of each."""
    if settings.time is None:
        return [float("inf")] * len(sizes)
    work = [share * width * height for share, (width, height) in zip(shares, sizes, strict=True)]
    return [started + count * settings.time * sum(work[: index + 1]) / sum(work) for index in range(len(work))]
