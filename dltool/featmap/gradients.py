"""Maps from gradients of the answer with respect to the picture's own pixels."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dltool.errors import SettingsError
from dltool.featmap.network import Network, frozen
from dltool.featmap.relus import ReLUGradients, guide
from dltool.featmap.targets import Target, scores
from dltool.featmap.work import Work

_DOUBLINGS = 3
_TOLERANCE = 0.01


def input_gradient(module: nn.Module, images: Tensor, targets: Sequence[Target]) -> Tensor:
    """Return the gradient of each picture's score with respect to the normalised N × 3 × H × W input."""
    with frozen(module), torch.enable_grad():
        leaf = images.detach().clone().requires_grad_()
        return torch.autograd.grad(scores(module(leaf), targets).sum(), leaf)[0]


def saliency(module: nn.Module, images: Tensor, targets: Sequence[Target]) -> Tensor:
    """Return the largest absolute gradient over the colours, N × H × W (Simonyan et al., ICLR-W 2014)."""
    return input_gradient(module, images, targets).abs().amax(1)


def smoothgrad(
    module: nn.Module, image: Tensor, target: Target, samples: int, noise: float, batch_size: int, seed: int
) -> Work:
    """Return the mean saliency of noisy copies of one picture, H × W (Smilkov et al., 2017).

    Args:
        image: normalised 1 × 3 × H × W.
        noise: standard deviation of the noise, as a share of the picture's range.
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
    """Return integrated gradients, 3 × H × W, with as many steps as their completeness needs.

    They should sum to score(x) - score(x₀). While they miss it by more than 1 % the number of steps is doubled, at
    most three times.
    """
    with frozen(module), torch.no_grad():
        ends = scores(module(torch.cat([image, torch.zeros_like(image)])), [target] * 2)
    difference = float(ends[0] - ends[1])
    for attempt in range(_DOUBLINGS + 1):
        result = yield from integrated_gradients(module, image, target, steps * 2**attempt, batch_size)
        if abs(float(result.sum()) - difference) <= _TOLERANCE * abs(difference):
            break
    return result


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
