"""How near an image is to the clean one, in memory that does not grow with it."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dltool.images.quality import psnr, ssim

_BAND = 256  # rows that are measured at once
_WINDOW = 11  # rows of SSIM's window


@dataclass(frozen=True)
class Quality:
    """PSNR in dB (infinite for equal images) and SSIM in [-1, 1]."""

    psnr: float
    ssim: float


def measure_quality(pixels: np.ndarray, clean: np.ndarray) -> Quality:
    """Compare two H × W × C images of one shape, each uint8 or uint16, as `images.quality` does with whole ones."""
    height = pixels.shape[0]
    starts = range(0, height, _BAND)
    error = sum(_mse(_band(pixels, start, 0), _band(clean, start, 0)) * min(_BAND, height - start) for start in starts)
    places = max(1, height - _WINDOW + 1)  # of SSIM's window along a column
    likeness, seen = 0.0, 0
    for start in range(0, places, _BAND):
        count = min(_BAND, places - start)
        bands = (_band(image, start, _WINDOW - 1) for image in (pixels, clean))
        likeness += count * float(ssim(*bands))
        seen += count
    mean_error = error / height
    return Quality(math.inf if mean_error == 0 else -10 * math.log10(mean_error), likeness / seen)


def _mse(one: Tensor, other: Tensor) -> float:
    return 10 ** (-float(psnr(one, other)) / 10)


def _band(image: np.ndarray, start: int, beyond: int) -> Tensor:
    """Rows from `start` on, and some `beyond`, as 1 × C × h × W float32 in [0, 1]."""
    rows = image[start : start + _BAND + beyond]
    return torch.from_numpy(rows.astype(np.float32) / np.iinfo(rows.dtype).max).permute(2, 0, 1).unsqueeze(0)
