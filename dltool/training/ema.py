"""Exponential moving average of weights."""

import copy

import torch
from torch import nn


class Ema:
    """A copy of a module whose tensors trail the original's: after each step, ema += (1 - decay) · (new - ema).

    The decay of step t is at most (1 + t) / (10 + t), so that the random start is soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Start from `module` as it is; `decay` in [0, 1)."""
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.steps = 0
        self._decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Follow `module` by one step; whole numbers, such as counters of batches, are copied."""
        self.steps += 1
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        for own, new in zip(self.module.state_dict().values(), module.state_dict().values(), strict=True):
            if own.is_floating_point():
                own.lerp_(new.to(own.dtype), 1 - decay)
            else:
                own.copy_(new)
