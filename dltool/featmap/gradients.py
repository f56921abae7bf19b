"""Maps from gradients of the answer with respect to the image's own pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dltool.errors import SettingsError
from dltool.featmap.network import Network, frozen
from dltool.featmap.relus import ReLUGradients, guide
from dltool.featmap.targets import Target, scores
from dltool.featmap.work import Work

_FIRST_PIECES = 8
_TOLERANCE = 0.005


def input_gradient(module: nn.Module, images: Tensor, targets: Sequence[Target]) -> Tensor:
    """Return the gradient of each image's score with respect to the normalised N × 3 × H × W input."""
    with frozen(module), torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        return torch.autograd.grad(scores(module(leaf), targets).sum(), leaf)[0]


def saliency(module: nn.Module, images: Tensor, targets: Sequence[Target]) -> Tensor:
    """Return the largest absolute gradient over the colours, N × H × W (Simonyan et al., ICLR-W 2014)."""
    return input_gradient(module, images, targets).abs().amax(1)


def smoothgrad(
    module: nn.Module, image: Tensor, target: Target, samples: int, noise: float, batch_size: int, seed: int
) -> Work:
    """Return the mean saliency of noisy copies of one image, H × W (Smilkov et al., 2017).

    Args:
        image: normalised 1 × 3 × H × W.
        noise: standard deviation of the noise, as a share of the image's range.
    """
    generator = torch.Generator().manual_seed(seed)
    deviation = noise * float(image.max() - image.min())
    total = torch.zeros_like(image[0, 0])
    for start in range(0, samples, batch_size):
        count = min(batch_size, samples - start)
        normal = torch.randn((count, *image.shape[1:]), generator=generator).to(image.device)
        total += saliency(module, image + deviation * normal, [target] * count).sum(0)
        yield start + count, samples
    return total / samples


def integrated_gradients(
    module: nn.Module, image: Tensor, target: Target, steps: int, batch_size: int, baseline: Tensor | None = None
) -> Work:
    """Return (x - x₀) · ∫ ∂score/∂x along the line from the baseline, 3 × H × W (Sundararajan et al., ICML 2017).

    The integral is a Gauss-Legendre quadrature of `steps` points, worked through in batches.

    Args:
        image: normalised 1 × 3 × H × W.
        baseline: of the same shape; None is 0, the mean colour of the training data.
    """
    start = torch.zeros_like(image) if baseline is None else baseline
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    positions = torch.tensor((nodes + 1) / 2, dtype=image.dtype, device=image.device).view(-1, 1, 1, 1)
    shares = torch.tensor(weights / 2, dtype=image.dtype, device=image.device).view(-1, 1, 1, 1)
    total = torch.zeros_like(image[0])
    for first in range(0, steps, batch_size):
        along = slice(first, first + batch_size)
        points = start + positions[along] * (image - start)
        total += (shares[along] * input_gradient(module, points, [target] * len(points))).sum(0)
        yield min(first + batch_size, steps), steps
    return (image - start)[0] * total


def complete_integrated_gradients(
    module: nn.Module, image: Tensor, target: Target, steps: int, batch_size: int
) -> Work:
    """Return integrated gradients from the mean colour, 3 × H × W, integrated until they are complete.

    Along a piece of the path the gradients must add up to the score's change, which is known exactly. So the path is
    cut into pieces, each taken at its middle, and the pieces that miss their change by most are halved, until all
    together miss the whole change by less than 0.5 %, or `steps` gradients are used up. Trained networks need it: most
    of the change is close to the baseline, where even steps are too coarse. Each gradient is kept, so that memory for
    at most `steps` images is taken.
    """
    path = _Path(module, image, target)
    pieces = path.measure([(index / _FIRST_PIECES, (index + 1) / _FIRST_PIECES) for index in range(_FIRST_PIECES)])
    used = _FIRST_PIECES
    while used < steps and abs(sum(piece.miss for piece in pieces)) > _TOLERANCE * abs(path.change):
        yield used, steps
        pieces.sort(key=lambda piece: -abs(piece.miss))
        halved = pieces[: max(1, batch_size // 2)]
        ends = [end for piece in halved for end in ((piece.start, piece.middle), (piece.middle, piece.end))]
        pieces = pieces[len(halved) :] + path.measure(ends)
        used += len(ends)
    yield steps, steps
    return torch.stack([piece.share for piece in pieces]).sum(0)


@dataclass(frozen=True)
class _Piece:
    """A part of the path from baseline to image, both ends between 0 and 1.

    Attributes:
        share: the gradient in its middle, times the way, 3 × H × W.
        miss: what the share's sum lacks of the score's change between the ends.
    """

    start: float
    end: float
    share: Tensor
    miss: float

    @property
    def middle(self) -> float:
        return (self.start + self.end) / 2


class _Path:
    """Scores and gradients of the images between 0 and `image`; every score is calculated once."""

    def __init__(self, module: nn.Module, image: Tensor, target: Target) -> None:
        self._module, self._image, self._target = module, image, target
        self._scores: dict[float, float] = {}
        self._score_at([index / _FIRST_PIECES for index in range(_FIRST_PIECES + 1)])
        self.change = self._scores[1.0] - self._scores[0.0]

    def measure(self, ends: list[tuple[float, float]]) -> list[_Piece]:
        """Take the gradient in the middle of each piece."""
        self._score_at([place for pair in ends for place in pair])
        middles = self._image.new_tensor([(start + end) / 2 for start, end in ends])
        gradient = input_gradient(self._module, self._at(middles), [self._target] * len(ends))
        pieces = []
        for (start, end), slope in zip(ends, gradient, strict=True):
            share = (end - start) * slope * self._image[0]
            pieces.append(_Piece(start, end, share, self._scores[end] - self._scores[start] - float(share.sum())))
        return pieces

    def _score_at(self, places: list[float]) -> None:
        new = [place for place in dict.fromkeys(places) if place not in self._scores]
        if not new:
            return
        with frozen(self._module), torch.no_grad():
            found = scores(self._module(self._at(self._image.new_tensor(new))), [self._target] * len(new))
        self._scores |= dict(zip(new, found.tolist(), strict=True))

    def _at(self, places: Tensor) -> Tensor:
        return places.view(-1, 1, 1, 1) * self._image


def guided_backprop(network: Network, images: Tensor, targets: Sequence[Target]) -> Tensor:
    """Return the gradient that passes ReLUs only where it is positive, N × 3 × H × W (Springenberg et al., 2015).

    Raises:
        SettingsError: the network has no ReLU.
    """
    with frozen(network.module), torch.enable_grad(), ReLUGradients(guide) as relus:
        leaf = images.detach().clone().requires_grad_()
        total = scores(network.module(leaf), targets).sum()
    if not relus.seen:
        raise SettingsError(f"--method guided-backprop: {network.name} has no ReLU for it to guide")
    return torch.autograd.grad(total, leaf)[0]
