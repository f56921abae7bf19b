"""L-BFGS with bounded memory, for one image or for several at once, each with a history of its own."""

import math
from collections import deque

import torch
from torch import Tensor

_CHUNK = 1 << 22

Numbers = float | Tensor
"""A number for the only image, on the CPU; else N × 1 on the device, one for each image."""


class Lbfgs:
    """L-BFGS without line search (Nocedal 1980), the steps of `torch.optim.LBFGS` with one evaluation each.

    Unlike torch's it needs four vectors besides the history, and can keep the history in bfloat16: the pairs of steps
    and differences of gradients are used as they were stored, so rounding them makes the curvature a little coarser
    and nothing else.

    The numbers that steer the steps stay on the device, so that a GPU is never waited for; but of one image on the CPU,
    where reading them costs nothing, they are Python's.
    """

    def __init__(
        self, rate: float, history: int, history_type: torch.dtype | None = None, longest: float = math.inf
    ) -> None:
        """Take the step's length in units of the method's own step, and how many past steps are remembered.

        `longest` is the largest root mean square that a step may have.
        """
        self._rate: Numbers = rate
        self._longest: Numbers = longest
        self._type = history_type
        self._pairs: deque[tuple[Tensor, Tensor, Numbers]] = deque(maxlen=history)
        self._step: Tensor | None = None
        self._gradient: Tensor | None = None
        self._curvature: Numbers = 1.0
        self._anew: set[int] = set()

    @torch.no_grad()
    def step(self, images: Tensor, gradients: Tensor) -> None:
        """Move N images in place; `gradients`, of the same shape, are kept until the next step."""
        gradient = gradients.flatten(1)
        if self._step is None:
            direction, length = gradient.neg(), _first_length(gradient) * self._rate
        else:
            self._remember(gradient)
            direction = self._direction(gradient)
            # No descent, or a gradient of zero: nothing to gain here.
            length = _choose(_dot(direction, gradient) > -1e-30, 0.0, self._rate)
        if isinstance(self._longest, Tensor) or self._longest < math.inf:
            mean_square = _dot(direction, direction) / direction.shape[1]
            length = _least(length, self._longest / _most(mean_square**0.5, 1e-30))
        self._step = direction.mul_(length)
        self._gradient = gradient
        images.view(gradient.shape).add_(self._step)

    def forget(self, index: int, rate: float, longest: float) -> None:
        """Begin anew with the image of this number, and take steps of these lengths with it from now on."""
        if self._step is None or _alone(self._step):
            self._pairs.clear()
            self._step = self._gradient = None
            self._rate, self._longest, self._curvature = rate, longest, 1.0
            return
        # Zeros, whatever was there: a pair without length or change moves nothing.
        for pair in (*self._pairs, (self._step, self._gradient)):
            for rows in pair:
                rows[index].zero_()  # type: ignore[index]
        self._rate = self._for_each(self._rate, index, rate)
        self._longest = self._for_each(self._longest, index, longest)
        self._anew.add(index)

    def _for_each(self, numbers: Numbers, index: int, number: float) -> Tensor:
        """The numbers of all images, that of one of them changed."""
        if not isinstance(numbers, Tensor):
            numbers = self._step.new_full((len(self._step), 1), numbers)
        numbers[index].fill_(number)
        return numbers

    def _remember(self, gradient: Tensor) -> None:
        change = self._gradient.neg_().add_(gradient)
        step = self._step
        if self._type is not None:
            change, step = change.to(self._type), step.to(self._type)
        product = _dot(change, step)
        bends = product > 1e-10 * _least(1.0, _dot(step, step))
        if isinstance(bends, Tensor) or bends:
            self._curvature = _choose(bends, product / _dot(change, change), self._curvature)
            self._pairs.append((step, change, _choose(bends, 1 / product, 0.0)))
        for index in self._anew:
            self._curvature[index].copy_(_first_length(gradient)[index])
        self._anew.clear()
        self._step = self._gradient = None

    def _direction(self, gradient: Tensor) -> Tensor:
        direction = gradient.neg()
        shares = []
        for step, change, inverse in reversed(self._pairs):
            shares.append(_dot(step, direction) * inverse)
            _add(direction, change, shares[-1], -1)
        direction.mul_(self._curvature)
        for (step, change, inverse), share in zip(self._pairs, reversed(shares), strict=True):
            _add(direction, step, _less(share, _dot(change, direction), inverse))
        return direction


def _alone(rows: Tensor) -> bool:
    """Whether these are the values of one image, on the CPU."""
    return len(rows) == 1 and rows.device.type == "cpu"


def _first_length(gradient: Tensor) -> Numbers:
    """Length of a step that knows of no curvature yet: of the gradient to a sum of 1 where that is shorter."""
    if _alone(gradient):
        size = gradient.abs().sum().item()
        return min(1.0, 1 / size) if size else 0.0
    return gradient.abs().sum(1, keepdim=True).reciprocal_().clamp_max_(1.0)


def _dot(first: Tensor, second: Tensor) -> Numbers:
    """The products of N × P values, row by row: those of a step and a change nearly cancel out at times."""
    alone = _alone(first)
    if first.dtype == second.dtype == torch.float32 and first.shape[1] <= _CHUNK:
        parts = [(first, second)]
    else:
        parts = list(zip(first.split(_CHUNK, 1), second.split(_CHUNK, 1), strict=True))
    if alone:
        return sum(one[0].float().dot(other[0].float()).item() for one, other in parts)
    if len(first) == 1:
        return sum(one[0].float().dot(other[0].float()) for one, other in parts).view(1, 1)
    wide = torch.float32 if first.device.type == "mps" else torch.float64
    return sum((one.float() * other.float()).sum(1, keepdim=True, dtype=wide) for one, other in parts).float()


def _add(target: Tensor, source: Tensor, factor: Numbers, sign: int = 1) -> None:
    """Add the factor times the source, row by row, or take it away."""
    parts = [(target, source)]
    if source.dtype != target.dtype:
        parts = list(zip(target.split(_CHUNK, 1), source.split(_CHUNK, 1), strict=True))
    for one, other in parts:
        if isinstance(factor, Tensor):
            one.addcmul_(other.float(), factor, value=sign)
        else:
            one.add_(other.float(), alpha=sign * factor)


def _less(number: Numbers, one: Numbers, other: Numbers) -> Numbers:
    """number - one · other."""
    return torch.addcmul(number, one, other, value=-1) if isinstance(number, Tensor) else number - one * other


def _choose(condition: bool | Tensor, yes: Numbers, no: Numbers) -> Numbers:
    return torch.where(condition, yes, no) if isinstance(condition, Tensor) else yes if condition else no


def _least(one: Numbers, other: Numbers) -> Numbers:
    if not isinstance(other, Tensor):
        return one.clamp_max(other) if isinstance(one, Tensor) else min(one, other)
    return torch.minimum(one, other) if isinstance(one, Tensor) else other.clamp_max(one)


def _most(numbers: Numbers, least: float) -> Numbers:
    return numbers.clamp_min(least) if isinstance(numbers, Tensor) else max(numbers, least)
