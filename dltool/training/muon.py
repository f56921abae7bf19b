"""Muon: momentum whose matrices are orthogonalized before each step (Jordan et al. 2024)."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Coefficients of the quintic iteration (Jordan 2024); RMS of an update, that of Adam's (Liu et al. 2025).
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_UPDATE_RMS = 0.2


class Muon(torch.optim.Optimizer):
    """Muon for the weights between first and last layer, or those named, Adam for the rest, at one learning rate.

    A weight of more than two dimensions is taken as a matrix of first dimension × rest. Measured against Adam on the
    denoising U-Net at equal CPU time: 0.2 dB better after four minutes.
    """

    def __init__(
        self,
        module: nn.Module,
        lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        inner: Sequence[Tensor] | None = None,
    ) -> None:
        """Optimize all parameters of `module`, whose layers it names in the order of use.

        Args:
            inner: the weights that take Muon's steps; None: those between the first and the last layer.
        """
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        if inner is None:
            inner = [weight for weight in weights if weight.ndim >= 2][1:-1]
        by_muon = {id(weight) for weight in inner}
        groups: Iterable[dict[str, Any]] = (
            {"params": [weight for weight in weights if id(weight) in by_muon], "orthogonal": True},
            {"params": [weight for weight in weights if id(weight) not in by_muon], "orthogonal": False},
        )
        defaults = {"lr": lr, "momentum": momentum, "betas": betas}
        super().__init__([group for group in groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move the parameters by one step."""
        assert closure is None
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if group["orthogonal"] and weights:
                torch._foreach_add_(weights, self._orthogonal_updates(weights, group), alpha=-group["lr"])
            elif weights:
                torch._foreach_add_(weights, self._adam_updates(weights, group), alpha=-group["lr"])

    def _orthogonal_updates(self, weights: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        gradients = [weight.grad for weight in weights]
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
        momenta = [self.state[weight]["momentum"] for weight in weights]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        nesterov = torch._foreach_lerp(gradients, momenta, group["momentum"])
        matrices = [each.reshape(len(each), -1) for each in nesterov]
        updates = list(orthogonalize_all(matrices))
        torch._foreach_mul_(updates, [_UPDATE_RMS * max(matrix.shape) ** 0.5 for matrix in matrices])
        return [update.view(weight.shape) for update, weight in zip(updates, weights, strict=True)]

    def _adam_updates(self, weights: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        first, second = group["betas"]
        states = [self.state[weight] for weight in weights]
        for state, weight in zip(states, weights, strict=True):
            if not state:
                state.update(step=0, mean=torch.zeros_like(weight), square=torch.zeros_like(weight))
            state["step"] += 1
        gradients = [weight.grad for weight in weights]
        means, squares = [state["mean"] for state in states], [state["square"] for state in states]
        torch._foreach_lerp_(means, gradients, 1 - first)
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1 - second)
        widths = torch._foreach_div(squares, [1 - second ** state["step"] for state in states])
        torch._foreach_sqrt_(widths)
        torch._foreach_add_(widths, 1e-8)
        updates = torch._foreach_div(means, [1 - first ** state["step"] for state in states])
        torch._foreach_div_(updates, widths)
        return list(updates)


def orthogonalize_all(matrices: Sequence[Tensor]) -> list[Tensor]:
    """`orthogonalize` for each of some matrices.

    On a GPU those of nearly as many rows, to the next power of two, go together, the smaller ones filled up with
    zeros, which change nothing: what small matrices wait for is being handed over. On a CPU that would gain nothing.
    """
    together: dict[Hashable, list[int]] = {}
    for number, matrix in enumerate(matrices):
        height, width = matrix.shape
        alike = (min(height, width) - 1).bit_length(), height <= width
        together.setdefault(alike if matrix.device.type == "cuda" else number, []).append(number)
    found = list(matrices)
    for numbers in together.values():
        if len(numbers) == 1:
            found[numbers[0]] = orthogonalize(matrices[numbers[0]])
            continue
        rows, columns = (max(matrices[number].shape[dim] for number in numbers) for dim in (0, 1))
        stack = torch.stack([_filled_up(matrices[number], rows, columns) for number in numbers])
        for number, matrix in zip(numbers, orthogonalize(stack), strict=True):
            height, width = matrices[number].shape
            found[number] = matrix[:height, :width]
    return found


def _filled_up(matrix: Tensor, rows: int, columns: int) -> Tensor:
    height, width = matrix.shape
    return matrix if (height, width) == (rows, columns) else F.pad(matrix, (0, columns - width, 0, rows - height))


def orthogonalize(matrices: Tensor) -> Tensor:
    """The nearest matrix with singular values near one (0.7 to 1.2), by Newton-Schulz iterations in bfloat16.

    Args:
        matrices: rows × columns, or N × rows × columns, float32; a zero matrix stays zero.
    """
    a, b, c = _NEWTON_SCHULZ
    multiply = torch.addmm if matrices.ndim == 2 else torch.baddbmm
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x = (matrices if wide else matrices.mT).bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = multiply(x, multiply(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).to(matrices.dtype)
