"""Learning-rate schedules as functions of progress, so that a resumed run needs no scheduler's state."""

import math


def cosine(progress: float, warmup: float = 0.1) -> float:
    """Factor in [0, 1]: linear warm-up over the share `warmup`, then half a cosine down to 0 (Loshchilov, 2017).

    Args:
        progress: share of all steps that are done, in [0, 1].
    """
    if progress < warmup:
        return max(progress / warmup, 0.01)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup))))


def one_cycle(progress: float, peak: float = 0.15) -> float:
    """Factor in (0, 1]: half a cosine up from 1/25 until `peak`, another down to 0 (L. Smith, 2018)."""
    if progress < peak:
        return 1 / 25 + (1 - 1 / 25) * 0.5 * (1 - math.cos(math.pi * progress / peak))
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - peak) / (1 - peak))))
