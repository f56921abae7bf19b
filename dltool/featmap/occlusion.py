"""Occlusion: cover the image piece by piece and watch the score fall."""

import torch
from torch import Tensor, nn

from dltool.featmap.network import frozen
from dltool.featmap.targets import Target, scores
from dltool.featmap.work import Work

_ROUNDING = 1e-6


def occlusion(module: nn.Module, image: Tensor, target: Target, window: int, batch_size: int) -> Work:
    """Return for each pixel by how much the score falls when it is covered, H × W (Zeiler & Fergus, ECCV 2014).

    A square of `window` pixels in the mean colour moves over the image by half its side, at the lower and right edge
    by less; a pixel's value is the mean over the squares that covered it.

    Args:
        image: normalised 1 × 3 × H × W.
    """
    height, width = image.shape[2:]
    places = [(top, left) for top in places_along(height, window) for left in places_along(width, window)]
    total, count = torch.zeros_like(image[0, 0]), torch.zeros_like(image[0, 0])
    with frozen(module), torch.no_grad():
        whole = scores(module(image), [target])
        for start in range(0, len(places), batch_size):
            chosen = places[start : start + batch_size]
            covered = image.repeat(len(chosen), 1, 1, 1)
            for photo, (top, left) in zip(covered, chosen, strict=True):
                photo[:, top : top + window, left : left + window] = 0
            falls = whole - scores(module(covered), [target] * len(chosen))
            falls = falls.where(falls.abs() > _ROUNDING * whole.abs(), 0)
            for fall, (top, left) in zip(falls, chosen, strict=True):
                total[top : top + window, left : left + window] += fall
                count[top : top + window, left : left + window] += 1
            yield min(start + batch_size, len(places)), len(places)
    return total / count


def places_along(length: int, window: int) -> list[int]:
    """Where the window starts along one side: half a window apart, the last one flush with the end."""
    last = max(0, length - window)
    places = list(range(0, last + 1, max(1, window // 2)))
    return places if places[-1] == last else [*places, last]
