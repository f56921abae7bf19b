"""Stylizing one picture: its own pixels are optimized, from coarse to fine."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.errors import DltoolError
from dltool.images.read import fit_longest
from dltool.stylize.colors import transfer_colors
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.losses import gram_matrix, range_penalty, relative_distance, total_variation
from dltool.stylize.settings import Optimizer, StylizeSettings

_RANGE_WEIGHT = 10.0
_SMALLEST_SCALE = 64
_DETAIL = 0.5
_LBFGS_HISTORY = 10
_ADAM_LEARNING_RATE = 0.02
_DIVERGED = 100.0  # times the best loss so far


@dataclass(frozen=True)
class StylizeStep:
    """One evaluation: `step` of `steps` in all, at the scale whose picture is `size` (width, height) large."""

    step: int
    steps: int
    size: tuple[int, int]
    loss: float
    content_loss: float
    style_loss: float


@dataclass(frozen=True)
class StylizeResult:
    """The best picture of the last scale, 1 × 3 × H × W on the CPU in [0, 1], with its losses and what it took."""

    image: Tensor
    steps: int
    seconds: float
    content_loss: float
    style_loss: float


class StyleTargets:
    """Gram matrices of one style picture, computed once for each size that is asked for."""

    def __init__(self, network: FeatureNetwork, style: Tensor) -> None:
        """Take a 1 × 3 × H × W picture in [0, 1], at the largest size that will be needed."""
        self.image = style
        self._network = network
        self._grams: dict[int, dict[str, Tensor]] = {}

    def at(self, longest_side: int, device: torch.device) -> dict[str, Tensor]:
        """Return the Gram matrix of every style layer with the picture scaled to `longest_side`."""
        if longest_side not in self._grams:
            image = _resize(self.image, fit_longest(self.image.shape[:1:-1], longest_side)).to(device)
            with torch.no_grad():
                features = self._network(image)
            self._grams[longest_side] = {name: gram_matrix(features[name]) for name in self._network.style_layers}
        return self._grams[longest_side]


def stylize(
    content: Tensor,
    style: StyleTargets,
    network: FeatureNetwork,
    settings: StylizeSettings,
    device: torch.device,
    init: Tensor | None = None,
) -> Iterator[StylizeStep | StylizeResult]:
    """Yield a StylizeStep for every evaluation and at the end the StylizeResult.

    Args:
        content: 1 × 3 × H × W in [0, 1] on the CPU, already of the result's size.
        style: the style's targets.
        network: an entered FeatureNetwork on `device`.
        init: the start where `settings.init` names a file; of any size.
    """
    started = time.perf_counter()
    width, height = content.shape[:1:-1]
    sizes = scale_sizes((width, height), settings.scales)[-settings.steps :]
    shares = _split_steps(settings.steps, len(sizes))
    deadlines = _deadlines(started, settings, sizes, shares)
    start = _first_picture(content, style.image, settings, init)
    detailed = settings.init not in ("noise", "style")
    image = _resize(start, sizes[0])
    done = 0
    for size, share, deadline in zip(sizes, shares, deadlines, strict=True):
        image = (_enlarge(image, start, size) if detailed else _resize(image, size)).to(device)
        objective = _Objective(network, _resize(content, size).to(device), style.at(max(size), device), settings)
        descent = _Descent(objective, image, settings)
        for _ in range(share):
            losses = descent.step()
            done += 1
            yield StylizeStep(done, settings.steps, size, *losses)
            if time.perf_counter() > deadline:
                break
        image = descent.best_image.to("cpu")
    seconds = time.perf_counter() - started
    _, content_loss, style_loss = descent.best_losses
    yield StylizeResult(image.clamp(0, 1), done, seconds, content_loss, style_loss)


def scale_sizes(size: tuple[int, int], scales: int) -> list[tuple[int, int]]:
    """Sizes (width, height) from coarse to fine, each √2 larger; those with a side below 64 pixels are left out."""
    longest = max(size)
    sides = [round(longest / 2 ** (0.5 * (scales - 1 - index))) for index in range(scales)]
    sizes = [fit_longest(size, side) for side in sides[:-1]]
    return [*(small for small in sizes if min(small) >= _SMALLEST_SCALE), size]


class _Objective:
    """The loss of a picture: weighted content, style, smoothness and range."""

    def __init__(
        self, network: FeatureNetwork, content: Tensor, style_grams: dict[str, Tensor], settings: StylizeSettings
    ) -> None:
        with torch.no_grad():
            features = network(content)
        self._content = {name: features[name] for name in network.content_layers}
        self._style = style_grams
        self._network = network
        self._settings = settings

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the total, the content and the style loss, differentiable; each mean is over its layers."""
        features = self._network(image)
        content = torch.stack([relative_distance(features[k], v) for k, v in self._content.items()]).mean()
        style = torch.stack([relative_distance(gram_matrix(features[k]), v) for k, v in self._style.items()]).mean()
        total = self._settings.content_weight * content + self._settings.style_weight * style
        total = total + _RANGE_WEIGHT * range_penalty(image)
        if self._settings.tv_weight:
            total = total + self._settings.tv_weight * total_variation(image)
        return total, content, style


class _Descent:
    """An optimizer at work on one picture, which remembers the best picture that it evaluated."""

    def __init__(self, objective: _Objective, image: Tensor, settings: StylizeSettings) -> None:
        self._objective = objective
        self._settings = settings
        self._image = image.detach().clone().contiguous().requires_grad_()
        self.best_image = image.detach().clone()
        self.best_losses = (float("inf"),) * 3
        self._factor = 1.0
        self._optimizer = self._new_optimizer()

    def step(self) -> tuple[float, float, float]:
        """Evaluate the picture once, move it, and return the total, content and style loss before the move."""
        evaluated: list[tuple[float, float, float]] = []

        def closure() -> Tensor:
            self._optimizer.zero_grad()
            losses = self._objective(self._image)
            losses[0].backward()
            evaluated.append(tuple(loss.item() for loss in losses))
            if evaluated[-1][0] < self.best_losses[0]:
                self.best_losses = evaluated[-1]
                self.best_image.copy_(self._image.detach())
            return losses[0]

        self._optimizer.step(closure)
        with torch.no_grad():
            if not evaluated[0][0] <= _DIVERGED * self.best_losses[0]:
                self._restart()
            elif self._settings.optimizer is Optimizer.ADAM:
                self._image.clamp_(0, 1)
        return evaluated[0]

    def _restart(self) -> None:
        """Go back to the best picture, with a fresh optimizer and a tenth of the step."""
        if not math.isfinite(self.best_losses[0]):
            raise DltoolError(
                "the loss is not finite at the start; lower --content-weight, --style-weight, --tv-weight"
            )
        self._image.copy_(self.best_image)
        self._factor /= 10
        self._optimizer = self._new_optimizer()

    def _new_optimizer(self) -> torch.optim.Optimizer:
        rate = self._settings.learning_rate
        if self._settings.optimizer is Optimizer.ADAM:
            return torch.optim.Adam([self._image], lr=self._factor * (rate or _ADAM_LEARNING_RATE), betas=(0.9, 0.99))
        return torch.optim.LBFGS(
            [self._image],
            lr=self._factor * (rate or 1.0),
            max_iter=1,
            history_size=_LBFGS_HISTORY,
            tolerance_grad=0,
            tolerance_change=0,
        )


def _first_picture(content: Tensor, style: Tensor, settings: StylizeSettings, init: Tensor | None) -> Tensor:
    size = content.shape[:1:-1]
    match settings.init:
        case "colors":
            return transfer_colors(content, style)
        case "content":
            return content
        case "noise":
            generator = torch.Generator().manual_seed(settings.seed)
            return torch.rand(content.shape, generator=generator)
        case "style":
            return _resize(style, size)
        case _:
            assert init is not None, "settings.init names a file, so its picture must be given"
            return _resize(init, size)


def _enlarge(image: Tensor, start: Tensor, size: tuple[int, int]) -> Tensor:
    """Take the picture of one scale to the next, with half of the start's detail that the smaller size cannot hold.

    Without it each scale begins blurred and spends its steps on inventing edges that the photo has.
    """
    enlarged = _resize(image, size)
    if image.shape == enlarged.shape:
        return enlarged
    blurred = _resize(_resize(start, image.shape[:1:-1]), size)
    return enlarged + _DETAIL * (_resize(start, size) - blurred)


def _resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize 1 × 3 × H × W to (width, height), antialiased."""
    if image.shape[:1:-1] == size:
        return image
    return F.interpolate(image, size[::-1], mode="bicubic", antialias=True, align_corners=False)


def _split_steps(steps: int, scales: int) -> list[int]:
    """Give the last scale half of the steps and share the rest out evenly; every scale gets at least one."""
    share = max(1, steps // (2 * max(1, scales - 1)))
    return [*[share] * (scales - 1), max(1, steps - share * (scales - 1))]


def _deadlines(
    started: float, settings: StylizeSettings, sizes: list[tuple[int, int]], shares: list[int]
) -> list[float]:
    """When each scale must end: the time budget shared out by the work, steps times pixels, that each has."""
    if settings.time is None:
        return [float("inf")] * len(sizes)
    work = [share * width * height for share, (width, height) in zip(shares, sizes, strict=True)]
    return [started + settings.time * sum(work[: index + 1]) / sum(work) for index in range(len(work))]
