"""Other gradients for ReLUs: every call is seen where it happens, functional, in-place and reused ones too."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_RELUS = ("relu", "relu_", "relu6", "hardtanh", "hardtanh_")


class ReLUGradients(TorchFunctionMode):
    """Context manager that changes what ReLUs and ReLU6s do in the backward pass.

    Attributes:
        seen: how many have run inside the context.
    """

    def __init__(self, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        """Take a function of a ReLU's input and output (a ReLU of it) that gives the output to go on with."""
        super().__init__()
        self.seen = 0
        self._change = change

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") not in _RELUS:
            return func(*args, **(kwargs or {}))
        self.seen += 1
        before = args[0].clone()  # an in-place one is about to overwrite it
        return self._change(before, func(*args, **(kwargs or {})))


def guide(before: Tensor, after: Tensor) -> Tensor:
    """Let only positive gradients into a ReLU (guided backpropagation, Springenberg et al., 2015)."""
    if after.requires_grad:
        after.register_hook(lambda gradient: gradient.clamp_min(0))
    return after


def redirect(before: Tensor, after: Tensor) -> Tensor:
    """Let gradients through a ReLU at its limits too, where following them downhill leads back into its range.

    A unit that is off gives no gradient at all, and an image that starts grey could never switch it on (Olah et al.,
    "Feature Visualization", do the same for the first steps).
    """
    return _Redirected.apply(before, after)


class _Redirected(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, before: Tensor, after: Tensor) -> Tensor:
        context.save_for_backward(before - after)
        return after.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (beyond,) = context.saved_tensors  # negative below the range, positive above it
        return gradient * ((beyond == 0) | (beyond.sign() == gradient.sign())), None
