"""Muon: momentum whose matrices are orthogonalized before each step (Jordan et al. 2024)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Coefficients of the quintic iteration (Jordan 2024); RMS of an update, that of Adam's (Liu et al. 2025).
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_UPDATE_RMS = 0.2


class Muon(torch.optim.Optimizer):
    """Muon for the weights between the first and the last layer, Adam for everything else, at one learning rate.

    A weight of more than two dimensions is taken as a matrix of first dimension × rest. Measured against Adam on the
    denoising U-Net at equal CPU time: 0.2 dB better after four minutes.
    """

    def __init__(
        self, module: nn.Module, lr: float, momentum: float = 0.95, betas: tuple[float, float] = (0.9, 0.99)
    ) -> None:
        """Optimize all parameters of `module`, whose layers it names in the order of use."""
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        matrices = [weight for weight in weights if weight.ndim >= 2]
        inner = {id(weight) for weight in matrices[1:-1]}
        groups: Iterable[dict[str, Any]] = (
            {"params": [weight for weight in weights if id(weight) in inner], "orthogonal": True},
            {"params": [weight for weight in weights if id(weight) not in inner], "orthogonal": False},
        )
        defaults = {"lr": lr, "momentum": momentum, "betas": betas}
        super().__init__([group for group in groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move the parameters by one step."""
        assert closure is None
        for group in self.param_groups:
            update = self._orthogonal_update if group["orthogonal"] else self._adam_update
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.add_(update(weight, group), alpha=-group["lr"])

    def _orthogonal_update(self, weight: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[weight]
        momentum = state.setdefault("momentum", torch.zeros_like(weight))
        momentum.lerp_(weight.grad, 1 - group["momentum"])
        nesterov = weight.grad.lerp(momentum, group["momentum"])
        matrix = nesterov.reshape(len(weight), -1)
        return orthogonalize(matrix).mul_(_UPDATE_RMS * max(matrix.shape) ** 0.5).view(weight.shape)

    def _adam_update(self, weight: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[weight]
        if not state:
            state.update(step=0, mean=torch.zeros_like(weight), square=torch.zeros_like(weight))
        first, second = group["betas"]
        state["step"] += 1
        state["mean"].lerp_(weight.grad, 1 - first)
        state["square"].lerp_(weight.grad.square(), 1 - second)
        mean = state["mean"] / (1 - first ** state["step"])
        return mean.div_((state["square"] / (1 - second ** state["step"])).sqrt_().add_(1e-8))


def orthogonalize(matrix: Tensor) -> Tensor:
    """The nearest matrix with singular values near one (0.7 to 1.2), by Newton-Schulz iterations in bfloat16.

    Args:
        matrix: rows × columns, float32; a zero matrix stays zero.
    """
    a, b, c = _NEWTON_SCHULZ
    wide = matrix.shape[0] <= matrix.shape[1]
    x = (matrix if wide else matrix.T).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x if wide else x.T).to(matrix.dtype)
