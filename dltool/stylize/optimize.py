"""Stylizing one picture: its own pixels are optimized, from coarse to fine."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dltool.images.read import fit_longest
from dltool.stylize.budget import MemoryPlan, plan_memory
from dltool.stylize.colors import (
    color_statistics,
    luminance,
    match_luminance,
    move_colors,
    with_luminance,
)
from dltool.stylize.descent import Descent
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.objective import Hold, Objective, Region
from dltool.stylize.settings import PreserveColor, StylizeSettings
from dltool.stylize.targets import StyleTargets, resize_tensor, style_grams

__all__ = ["StyleTargets", "StylizeResult", "StylizeStep", "first_picture", "scale_sizes", "stylize"]

_SMALLEST_SCALE = 32
_FIRST_SCALE = 256
_FULL_SHARE_SIDE = 1024
_DETAIL = 0.5


@dataclass(frozen=True)
class StylizeStep:
    """One evaluation.

    Attributes:
        step, steps: number of this evaluation, and of all of them.
        size: width and height of the picture at this scale.
        restarts: how often this scale's optimizer diverged and went on from the best picture with a smaller step.
        tile: longest side that the network sees at once, or None where that is the whole picture.
        image: the picture as it is now, 1 × 3 × h × w on the CPU, at the steps that were asked for.
    """

    step: int
    steps: int
    size: tuple[int, int]
    loss: float
    content_loss: float
    style_loss: float
    restarts: int = 0
    tile: int | None = None
    image: Tensor | None = None


@dataclass(frozen=True)
class StylizeResult:
    """The best picture of the last scale, 1 × 3 × H × W on the CPU in [0, 1], with its losses and what it took."""

    image: Tensor
    steps: int
    seconds: float
    content_loss: float
    style_loss: float


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
) -> Iterator[StylizeStep | StylizeResult]:
    """Yield a StylizeStep for every evaluation and at the end the StylizeResult.

    Args:
        content: 1 × 3 × H × W in [0, 1] on the CPU, already of the result's size.
        style: the style's targets; several of them need a mask.
        network: an entered FeatureNetwork on `device`.
        init: the start where `settings.init` names a file; of any size.
        mask: 1 × 1 × H × W in [0, 1] for where and how strongly the style goes, or with R styles 1 × R × H × W for
            the share of each at every pixel, adding up to 1. The result's size.
        hold: a picture of the result's size to stay near to, and where.
        save_every: every so many steps the event holds the picture; 0 for never.

    Raises:
        DltoolError: the loss is not finite at the start.
        DeviceError: `settings.max_memory` is too little for this size.
    """
    started = time.perf_counter()
    canvas = _Canvas(content, style, settings, mask)
    size = content.shape[:1:-1]
    sizes = scale_sizes(size, settings.scales)[-settings.steps :]
    shares = _split_steps(settings.steps, sizes)
    deadlines = _deadlines(started, settings, sizes, shares)
    start: Tensor | None = canvas.start(init)
    detailed = settings.init not in ("noise", "style")
    image = resize_tensor(start, sizes[0])
    done = 0
    for number, (size, share, deadline) in enumerate(zip(sizes, shares, deadlines, strict=True)):
        image = (_enlarge(image, start, size) if detailed else resize_tensor(image, size)).to(device)
        if number == len(sizes) - 1:
            start = None  # a large picture's memory has a better use now
        plan = plan_memory(network, size, settings, device)
        objective = canvas.objective(network, size, device, plan, hold)
        descent = Descent(objective, image, settings, plan.history_bytes)
        del image
        for _ in range(share):
            losses = descent.step()
            done += 1
            shown = canvas.finish(descent.best_image.cpu().clone()) if save_every and done % save_every == 0 else None
            yield StylizeStep(
                done, sum(shares), size, *losses, restarts=descent.restarts, tile=objective.tile_side, image=shown
            )
            if time.perf_counter() > deadline:
                break
        image, losses = descent.finish()
        image = image.to("cpu")
        del descent, objective
    image = canvas.finish(image)
    seconds = time.perf_counter() - started
    yield StylizeResult(image, done, seconds, losses.content, losses.style)


def first_picture(content: Tensor, style: StyleTargets, settings: StylizeSettings) -> Tensor:
    """The picture that `stylize` would start from, of the photo's size."""
    return _Canvas(content, style, settings, None).start(None)


class _Canvas:
    """The photo, the styles and the mask as the settings want them seen, at any scale."""

    def __init__(
        self,
        content: Tensor,
        style: StyleTargets | Sequence[StyleTargets],
        settings: StylizeSettings,
        mask: Tensor | None,
    ) -> None:
        styles = [style] if isinstance(style, StyleTargets) else list(style)
        assert len(styles) == 1 or (mask is not None and mask.shape[1] == len(styles)), "a mask has a layer per style"
        self._original = content
        self._settings = settings
        self._mask = mask
        self._content = content
        if settings.preserve_color is PreserveColor.LUMINANCE:
            self._content = luminance(content)
            styles = [targets.grey() for targets in styles]
            # The photo's range of light is the painting's for the whole run; the chroma comes back at the end.
        elif settings.preserve_color is PreserveColor.HISTOGRAM:
            own = color_statistics(content)
            styles = [targets.recolored(own) for targets in styles]
        self._styles = styles

    def start(self, init: Tensor | None) -> Tensor:
        """The picture that the optimization starts from, of the photo's size."""
        content = self._content
        match self._settings.init:
            case "colors":
                return self._colored(content)
            case "content":
                return content
            case "noise":
                generator = torch.Generator().manual_seed(self._settings.seed)
                return torch.rand(content.shape, generator=generator)
            case "style":
                return resize_tensor(self._styles[0].image, content.shape[:1:-1])
            case _:
                assert init is not None, "settings.init names a file, so its picture must be given"
                return resize_tensor(init, content.shape[:1:-1])

    def objective(
        self, network: FeatureNetwork, size: tuple[int, int], device: torch.device, plan: MemoryPlan, hold: Hold | None
    ) -> Objective:
        """The loss of a picture of `size`."""
        settings = self._settings
        content = resize_tensor(self._content, size).to(device)
        side = max(1, round(max(size) * settings.style_scale))
        grams = [targets.at(side, device, settings.gram, plan.tile_side) for targets in self._styles]
        if settings.strength < 1:
            own = style_grams(network, content, settings.gram, plan.tile_side)
            grams = [
                {name: own[name].lerp(matrix, settings.strength) for name, matrix in each.items()} for each in grams
            ]
        masks = [None] * len(grams)
        if self._mask is not None:
            smaller = torch.nn.functional.interpolate(self._mask, size[::-1], mode="area").to(device)
            masks = [smaller[:, number : number + 1] for number in range(smaller.shape[1])]
        regions = [Region(each, mask) for each, mask in zip(grams, masks, strict=True)]
        if hold is not None:
            hold = Hold(resize_tensor(hold.image, size).to(device), resize_tensor(hold.weight, size).to(device))
        return Objective(network, content, regions, settings, plan.tile_side, hold)

    def finish(self, image: Tensor) -> Tensor:
        """The result from an optimized picture: in range, with the photo's colours or parts where these are kept."""
        image = image.clamp_(0, 1)
        original = resize_tensor(self._original, image.shape[:1:-1])
        if self._settings.preserve_color is PreserveColor.LUMINANCE:
            image = with_luminance(original, image)
        if self._mask is not None and len(self._styles) == 1:
            mask = resize_tensor(self._mask, image.shape[:1:-1])
            image = torch.lerp(original, image, mask.clamp(0, 1)).clamp_(0, 1)
        return image

    def _colored(self, content: Tensor) -> Tensor:
        """The photo in the style's colours, in each region in those of its own style."""
        if len(self._styles) == 1:
            mask = self._mask
            moved = self._moved(content, self._styles[0], mask)
        else:
            moved = torch.zeros_like(content)
            for number, targets in enumerate(self._styles):
                mask = self._mask[:, number : number + 1]
                moved += mask * self._moved(content, targets, mask)
        return moved if self._settings.strength == 1 else content.lerp(moved, self._settings.strength)

    def _moved(self, content: Tensor, targets: StyleTargets, mask: Tensor | None) -> Tensor:
        if self._settings.preserve_color is PreserveColor.LUMINANCE:
            return match_luminance(content, targets.colors)
        return move_colors(content, color_statistics(content, mask), targets.colors)


def scale_sizes(size: tuple[int, int], scales: int) -> list[tuple[int, int]]:
    """Sizes (width, height) from coarse to fine, each √2 larger; those with a side below 64 pixels are left out.

    With `scales` 0 the first has a longest side of about 256 pixels, and there are at least three.
    """
    longest = max(size)
    if scales == 0:
        scales = max(3, 1 + round(2 * math.log2(max(1, longest) / _FIRST_SCALE)))
    sides = [round(longest / 2 ** (0.5 * (scales - 1 - index))) for index in range(scales)]
    sizes = [fit_longest(size, side) for side in sides[:-1]]
    return [*(small for small in sizes if min(small) >= _SMALLEST_SCALE), size]


def _enlarge(image: Tensor, start: Tensor, size: tuple[int, int]) -> Tensor:
    """Take the picture of one scale to the next, with half of the start's detail that the smaller size cannot hold.

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
    started: float, settings: StylizeSettings, sizes: list[tuple[int, int]], shares: list[int]
) -> list[float]:
    """When each scale must end: the time budget shared out by the work, steps times pixels, that each has."""
    if settings.time is None:
        return [float("inf")] * len(sizes)
    work = [share * width * height for share, (width, height) in zip(shares, sizes, strict=True)]
    return [started + settings.time * sum(work[: index + 1]) / sum(work) for index in range(len(work))]
