"""Exponential moving average of weights."""

import copy

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Ema:
    """A copy of a module whose tensors trail the original's: after each step, ema += (1 - decay) · (new - ema).

    The decay of step t is at most (1 + t) / (10 + t), so that the random start is soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float = 0.0) -> None:
        """Start from `module` as it is; `decay` in [0, 1) is for `update`."""
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.steps = 0
        self._decay = decay

    def update(self, module: nn.Module) -> None:
        """Follow `module` by one step; whole numbers, such as counters of batches, are copied."""
        self.steps += 1
        self.follow(module, min(self._decay, (1 + self.steps) / (10 + self.steps)))

    @torch.no_grad()
    def follow(self, module: nn.Module, decay: float) -> None:
        """Follow `module` by one step with a decay that the caller knows."""
        pairs = list(zip(self.module.state_dict().values(), module.state_dict().values(), strict=True))
        floats = [(own, new.to(own.dtype)) for own, new in pairs if own.is_floating_point()]
        get_ema_multi_avg_fn(decay)(*(list(side) for side in zip(*floats, strict=True)), 0)
        for own, new in pairs:
            if not own.is_floating_point():
                own.copy_(new)


def half_life_decay(images: int, half_life: float, seen: int, ramp: float = 0.1) -> float:
    """Decay of a step of `images` images after which the older ones weigh half once `half_life` images have passed.

    The half-life is at most `ramp` times the images `seen`, so that short runs forget their start as well (Karras et
    al., "Training Generative Adversarial Networks with Limited Data", 2020).
    """
    return 0.5 ** (images / max(min(half_life, ramp * seen), 1e-8))
