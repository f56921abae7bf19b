"""The optimizers at work on images of one size, and the best image that each of them came by."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dltool.errors import DltoolError
from dltool.stylize.lbfgs import Lbfgs
from dltool.stylize.objective import Losses, Objective
from dltool.stylize.settings import LossForm, Optimizer, StylizeSettings

_ADAM_LEARNING_RATE = 0.02
# Times the best loss so far. L-BFGS that overshoots comes back by itself, but to an image that has lost its shapes;
# Adam's loss jumps about by far more than that where its steps are long, and it is none the worse.
_DIVERGED = {Optimizer.LBFGS: 3.0, Optimizer.ADAM: 100.0}
_NOTHING = 1e-7  # a relative loss that is rounding: of a photo that is its own painting, or of two flat colours
_POOR_AVERAGE = 1.5  # times the best loss: more, and the average is not taken
_LONGEST_STEP = 0.02  # root mean square over the pixels, once a longer step has made the loss run away


class Descent:
    """One image at work, which remembers the best state of it that losses were told of.

    Attributes:
        image: the image that will be evaluated next, moved in place.
        restarts: how often it diverged and went back to the best image, with shorter steps.
        best_losses: of the best image.
    """

    def __init__(self, image: Tensor, settings: StylizeSettings) -> None:
        self._settings = settings
        weights = settings.content_weight + settings.style_weight
        self._nothing = _NOTHING * weights if settings.loss is LossForm.RELATIVE else 0.0
        self.image = image
        self.restarts = 0
        # Of a large image the best one is kept in half precision, 1/4096 of the range and better.
        self._compact = image.numel() > 3 << 22
        self._best = self.image.to(torch.float16 if self._compact else image.dtype, copy=True)
        self.best_losses = Losses(*(float("inf"),) * 3)
        self._average: Tensor | None = torch.zeros_like(self.image) if settings.average else None
        self._averaged = 0.0
        self._adam = self._new_adam()

    @property
    def best_image(self) -> Tensor:
        """The best image evaluated so far."""
        return self._best.to(self.image.dtype)

    def look(self, losses: Losses) -> bool:
        """Keep the image if its losses are the best so far, and return whether they have run away from those."""
        if losses.total < self.best_losses.total:
            self.best_losses = losses
            self._best.copy_(self.image)
        return not losses.total <= _DIVERGED[self._settings.optimizer] * max(self.best_losses.total, self._nothing)

    def move_by_adam(self, gradient: Tensor) -> None:
        """Move the image by Adam's step."""
        self.image.grad = gradient
        self._adam.step()
        self.image.clamp_(0, 1)

    def add_to_average(self) -> None:
        """Take the image into the average of all of them, with `settings.average`."""
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

    def restart(self) -> None:
        """Go back to the best image.

        Raises:
            DltoolError: the loss was not finite from the start.
        """
        if not math.isfinite(self.best_losses.total):
            raise DltoolError(
                "the loss is not finite at the start; lower --content-weight, --style-weight, --tv-weight, "
                "--range-weight"
            )
        self.image.copy_(self._best)
        self.restarts += 1
        self._adam = self._new_adam()

    @property
    def step_lengths(self) -> tuple[float, float]:
        """What L-BFGS takes of its own step, and the longest step.

        Once an image ran away only steps that are too long are shortened: a smaller rate would slow all of them down
        for good.
        """
        rate = self._settings.learning_rate or 1.0
        return (min(1.0, rate), _LONGEST_STEP * 0.5 ** (self.restarts - 1)) if self.restarts else (rate, math.inf)

    def _new_adam(self) -> torch.optim.Adam | None:
        if self._settings.optimizer is not Optimizer.ADAM:
            return None
        # 0.99: of 0.999 the memory would be longer than a whole scale.
        rate = 0.1**self.restarts * (self._settings.learning_rate or _ADAM_LEARNING_RATE)
        return torch.optim.Adam([self.image], rate, (0.9, 0.99))


class Descents:
    """Images of one size that are evaluated together, each with a descent of its own, in `each`."""

    def __init__(
        self, objective: Objective, images: Sequence[Tensor], settings: StylizeSettings, history_bytes: int = 1 << 29
    ) -> None:
        """Take N images, each 1 × 3 × H × W, and the objective of all of them; `history_bytes` are for each."""
        self._objective = objective
        self._averaged = settings.average > 0
        self._images = (
            images[0].detach().clone(memory_format=torch.contiguous_format)
            if len(images) == 1
            else torch.cat(list(images)).contiguous()
        )
        self.each = [Descent(image, settings) for image in self._images.split(1)]
        self._lbfgs = (
            _new_lbfgs(self.each[0], settings, history_bytes) if settings.optimizer is Optimizer.LBFGS else None
        )

    def step(self) -> list[Losses]:
        """Evaluate every image once, move it, and return the losses before the move.

        Raises:
            DltoolError: the loss of one is not finite at its start.
        """
        losses, gradients = self._objective.evaluate(self._images)
        lost = {number for number, (each, own) in enumerate(zip(self.each, losses, strict=True)) if each.look(own)}
        if self._lbfgs is None:
            for number, gradient in enumerate(gradients.split(1)):
                if number not in lost:
                    self.each[number].move_by_adam(gradient)
        elif len(lost) < len(self.each):
            self._lbfgs.step(self._images, gradients)
        for number in lost:
            self.each[number].restart()
            if self._lbfgs is not None:
                self._lbfgs.forget(number, *self.each[number].step_lengths)
        for each in self.each:
            each.add_to_average()
        return losses

    def finish(self) -> list[tuple[Tensor, Losses]]:
        """Return the image that each descent ends with and its losses: the best one, or the images' average."""
        if not self._averaged:
            return [(descent.best_image, descent.best_losses) for descent in self.each]
        averages = [descent.average() for descent in self.each]
        losses, _ = self._objective.evaluate(averages[0] if len(averages) == 1 else torch.cat(averages))
        return [descent.better(*pair) for descent, *pair in zip(self.each, averages, losses, strict=True)]


def _new_lbfgs(descent: Descent, settings: StylizeSettings, history_bytes: int) -> Lbfgs:
    """The optimizer of images like this one, with as much of the history for each as `history_bytes` hold."""
    pair = 2 * descent.image.nbytes
    halved = settings.history * pair > history_bytes
    count = max(1, min(settings.history, history_bytes // (pair // 2 if halved else pair)))
    rate, longest = descent.step_lengths
    return Lbfgs(rate, count, torch.bfloat16 if halved else None, longest)
