"""The optimizers at work on one image: L-BFGS with bounded memory, and Adam."""

import math
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from dltool.errors import DltoolError
from dltool.stylize.objective import Losses, Objective
from dltool.stylize.settings import LossForm, Optimizer, StylizeSettings

_ADAM_LEARNING_RATE = 0.02
# Times the best loss so far. L-BFGS that overshoots comes back by itself, but to an image that has lost its shapes;
# Adam's loss jumps about by far more than that where its steps are long, and it is none the worse.
_DIVERGED = {Optimizer.LBFGS: 3.0, Optimizer.ADAM: 100.0}
_NOTHING = 1e-7  # a relative loss that is rounding: of a photo that is its own painting, or of two flat colours
_POOR_AVERAGE = 1.5  # times the best loss: more, and the average is not taken
_LONGEST_STEP = 0.02  # root mean square over the pixels, once a longer step has made the loss run away
_CHUNK = 1 << 22


class Descent:
    """An optimizer at work on one image, which remembers the best image that it was given losses of.

    Attributes:
        image: the image that will be evaluated next.
        restarts: how often it diverged and went back to the best image, with shorter steps.
        best_losses: of the best image.
    """

    def __init__(self, image: Tensor, settings: StylizeSettings, history_bytes: int = 1 << 29) -> None:
        self._settings = settings
        self._history_bytes = history_bytes
        weights = settings.content_weight + settings.style_weight
        self._nothing = _NOTHING * weights if settings.loss is LossForm.RELATIVE else 0.0
        self.image = image.detach().clone(memory_format=torch.contiguous_format)
        self.restarts = 0
        # Of a large image the best one is kept in half precision, 1/4096 of the range and better.
        self._compact = image.numel() > 3 << 22
        self._best = self.image.to(torch.float16 if self._compact else image.dtype, copy=True)
        self.best_losses = Losses(*(float("inf"),) * 3)
        self._average: Tensor | None = torch.zeros_like(self.image) if settings.average else None
        self._averaged = 0.0
        self._start_optimizer()

    @property
    def best_image(self) -> Tensor:
        """The best image evaluated so far."""
        return self._best.to(self.image.dtype)

    def take(self, losses: Losses, gradient: Tensor) -> None:
        """Take what an evaluation of `image` gave, and move it.

        Raises:
            DltoolError: the loss is not finite at the start.
        """
        if losses.total < self.best_losses.total:
            self.best_losses = losses
            self._best.copy_(self.image)
        if not losses.total <= _DIVERGED[self._settings.optimizer] * max(self.best_losses.total, self._nothing):
            self._restart()
        elif self._settings.optimizer is Optimizer.ADAM:
            self.image.grad = gradient
            self._adam.step()
            self.image.clamp_(0, 1)
        else:
            self._lbfgs.step(self.image, gradient)
        if self._average is not None:
            decay = self._settings.average
            self._average.mul_(decay).add_(self.image, alpha=1 - decay)
            self._averaged = decay * self._averaged + 1 - decay

    def average(self) -> Tensor:
        """The exponential average of the images so far, with `settings.average`."""
        return self._average / self._averaged

    def better(self, average: Tensor, losses: Losses) -> tuple[Tensor, Losses]:
        """Return the average with its losses, or the best image where they jumped about too far for a mean."""
        if losses.total <= _POOR_AVERAGE * self.best_losses.total:
            return average, losses
        return self.best_image, self.best_losses

    def _restart(self) -> None:
        if not math.isfinite(self.best_losses.total):
            raise DltoolError(
                "the loss is not finite at the start; lower --content-weight, --style-weight, --tv-weight, "
                "--range-weight"
            )
        self.image.copy_(self._best)
        self.restarts += 1
        self._start_optimizer()

    def _start_optimizer(self) -> None:
        rate = self._settings.learning_rate
        if self._settings.optimizer is Optimizer.ADAM:
            # 0.99: of 0.999 the memory would be longer than a whole scale.
            rate = 0.1**self.restarts * (rate or _ADAM_LEARNING_RATE)
            self._adam = torch.optim.Adam([self.image], rate, (0.9, 0.99))
            return
        pair = 2 * self.image.nbytes
        halved = self._settings.history * pair > self._history_bytes
        count = max(1, min(self._settings.history, self._history_bytes // (pair // 2 if halved else pair)))
        rate, longest = rate or 1.0, float("inf")
        if self.restarts:
            # Only steps that are too long are shortened: a smaller rate would slow all of them down for good.
            rate, longest = min(1.0, rate), _LONGEST_STEP * 0.5 ** (self.restarts - 1)
        self._lbfgs = Lbfgs(rate, count, torch.bfloat16 if halved else None, longest)


class Descents:
    """Images of one size that are evaluated together, each with a descent of its own, in `each`."""

    def __init__(
        self, objective: Objective, images: Sequence[Tensor], settings: StylizeSettings, history_bytes: int = 1 << 29
    ) -> None:
        """Take N images, each 1 × 3 × H × W, and the objective of all of them; `history_bytes` are for each."""
        self._objective = objective
        self._averaged = settings.average > 0
        self.each = [Descent(image, settings, history_bytes) for image in images]

    def step(self) -> list[Losses]:
        """Evaluate every image once, move it, and return the losses before the move."""
        losses, gradients = self._evaluate([descent.image for descent in self.each])
        for descent, own, gradient in zip(self.each, losses, gradients.split(1), strict=True):
            descent.take(own, gradient)
        return losses

    def finish(self) -> list[tuple[Tensor, Losses]]:
        """Return the image that each descent ends with and its losses: the best one, or the images' average."""
        if not self._averaged:
            return [(descent.best_image, descent.best_losses) for descent in self.each]
        averages = [descent.average() for descent in self.each]
        losses, _ = self._evaluate(averages)
        return [descent.better(*pair) for descent, *pair in zip(self.each, averages, losses, strict=True)]

    def _evaluate(self, images: list[Tensor]) -> tuple[list[Losses], Tensor]:
        return self._objective.evaluate(images[0] if len(images) == 1 else torch.cat(images))


class Lbfgs:
    """L-BFGS without line search (Nocedal 1980), the steps of `torch.optim.LBFGS` with one evaluation each.

    Unlike torch's it needs four vectors besides the history, and can keep the history in bfloat16: the pairs of steps
    and differences of gradients are used as they were stored, so rounding them makes the curvature a little coarser
    and nothing else.
    """

    def __init__(
        self, rate: float, history: int, history_type: torch.dtype | None = None, longest: float = float("inf")
    ) -> None:
        """Take the step's length in units of the method's own step, and how many past steps are remembered.

        `longest` is the largest root mean square that a step may have.
        """
        self._rate = rate
        self._longest = longest
        self._type = history_type
        self._pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=history)
        self._step: Tensor | None = None
        self._gradient: Tensor | None = None
        self._curvature = 1.0

    @torch.no_grad()
    def step(self, image: Tensor, gradient: Tensor) -> None:
        """Move `image` in place; `gradient` is kept until the next step."""
        gradient = gradient.flatten()
        if self._step is None:
            size = gradient.abs().sum().item()
            length = min(1.0, 1 / size) * self._rate if size else 0.0
            direction = gradient.neg()
        else:
            self._remember(gradient)
            direction = self._direction(gradient)
            length = self._rate
            if _dot(direction, gradient) > -1e-30:  # no descent, or a gradient of zero: nothing to gain here
                length = 0.0
        if self._longest < float("inf"):
            mean_square = _dot(direction, direction) / len(direction)
            length = min(length, self._longest / max(mean_square**0.5, 1e-30))
        self._step = direction.mul_(length)
        self._gradient = gradient
        image.view(-1).add_(self._step)

    def _remember(self, gradient: Tensor) -> None:
        change = self._gradient.neg_().add_(gradient)
        if self._type is not None:
            change, self._step = change.to(self._type), self._step.to(self._type)
        product = _dot(change, self._step)
        if product > 1e-10 * min(1.0, _dot(self._step, self._step)):
            self._curvature = product / _dot(change, change)
            self._pairs.append((self._step, change, 1 / product))
        self._step = self._gradient = None

    def _direction(self, gradient: Tensor) -> Tensor:
        direction = gradient.neg()
        shares = []
        for step, change, inverse in reversed(self._pairs):
            shares.append(_dot(step, direction) * inverse)
            _add(direction, change, -shares[-1])
        direction.mul_(self._curvature)
        for (step, change, inverse), share in zip(self._pairs, reversed(shares), strict=True):
            _add(direction, step, share - _dot(change, direction) * inverse)
        return direction


def _dot(first: Tensor, second: Tensor) -> float:
    if first.dtype == second.dtype == torch.float32 and len(first) <= _CHUNK:
        return first.dot(second).item()
    parts = zip(first.split(_CHUNK), second.split(_CHUNK), strict=True)
    return sum(one.float().dot(other.float()).item() for one, other in parts)


def _add(target: Tensor, source: Tensor, factor: float) -> None:
    if source.dtype == target.dtype:
        target.add_(source, alpha=factor)
        return
    for one, other in zip(target.split(_CHUNK), source.split(_CHUNK), strict=True):
        one.add_(other.float(), alpha=factor)
