"""What denoising must know: images without noise stay as they are, single wrong pixels are no noise of a sensor."""

import numpy as np
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

_FEW_COLORS = 256  # of an image that was drawn; any noise makes thousands
_FEW_GREYS = 32
_SPARED, _TRUSTED = (
    1.0 / 255,
    2.5 / 255,
)  # what is taken away around a pixel, below and above which it is left and taken
_RADIUS = 15  # of the square in which that is measured, in pixels
_JUMP = 0.2  # of the range: from a wrong pixel to the median of its neighbours
_FEWEST_WRONG = 0.002  # of the pixels, white ones and black ones each
_CROWDED = 2.0  # times as many wrong neighbours as errors that know nothing of each other have
_UNLIKE = 4.0  # more white than black ones, or the reverse: a drawing's lines rather than errors


def is_drawn(pixels: np.ndarray) -> bool:
    """Whether H × W × C pixels have so few colours that there is no noise in them: text, pixel art, a chart."""
    flat = pixels.reshape(-1, pixels.shape[2])
    if len(flat) < 16 * _FEW_COLORS:
        return False
    most = _FEW_GREYS if pixels.shape[2] == 1 else _FEW_COLORS
    # A photo shows more colours than that in any few of its pixels; only drawings are looked at whole.
    return all(len(np.unique(part, axis=0)) <= most for part in (flat[:: max(1, len(flat) // 4096)], flat))


def spare_small(taken: Tensor) -> Tensor:
    """Leave what is hardly there: scale 1 × C × H × W noise down where its root mean square around a pixel is small.

    Below one step of 8 bits nothing is taken, from two and a half on all of it: a photo without noise comes back as it
    was, though a network would change it by as much as it does not know for certain.
    """
    energy = taken.square().mean(1, keepdim=True)
    around = F.avg_pool2d(energy, 2 * _RADIUS + 1, stride=1, padding=_RADIUS, count_include_pad=False)
    return taken * ((around.sqrt() - _SPARED) / (_TRUSTED - _SPARED)).clamp(0, 1)


def wrong_pixels(pixels: np.ndarray) -> np.ndarray | None:
    """H × W: which pixels are black or white alone among others, as faulty sensors and transmission leave them.

    None where there are too few of them, not both kinds, or more of them side by side than by chance, as in drawings.
    """
    white = np.iinfo(pixels.dtype).max
    around = _neighbours(pixels)
    middle = np.median(around, axis=-1)
    salt = ((pixels == white) & (middle < (1 - _JUMP) * white)).any(2)
    pepper = ((pixels == 0) & (middle > _JUMP * white)).any(2)
    shares = salt.mean(), pepper.mean()
    if min(shares) < _FEWEST_WRONG or max(shares) > _UNLIKE * min(shares):
        return None
    wrong = salt | pepper
    beside = _neighbours(wrong[..., None]).sum(-1)[wrong].mean()
    return None if beside > _CROWDED * 8 * wrong.mean() else wrong


def replace_wrong(pixels: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """H × W × C pixels, the wrong ones replaced by the median of their right neighbours, in each channel."""
    result = pixels
    for _ in range(3):  # where all neighbours are wrong, the next round has some that are repaired
        values = np.where(wrong[..., None], np.nan, result.astype(np.float32))
        around = _neighbours(values)[wrong]
        with np.errstate(all="ignore"):
            known = ~np.isnan(around).all(-1)
            medians = np.zeros(around.shape[:2], np.float32)
            medians[known] = np.nanmedian(around[known], axis=-1)
        repaired = result.copy()
        repaired[wrong] = np.where(known, np.rint(medians), result[wrong]).astype(pixels.dtype)
        left = wrong.copy()
        left[wrong] = ~known.all(1)
        result, wrong = repaired, left
        if not wrong.any():
            break
    return result


def _neighbours(values: np.ndarray) -> np.ndarray:
    """The eight pixels around each of H × W × C, in a last axis."""
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)), mode="reflect" if min(values.shape[:2]) > 1 else "edge")
    windows = sliding_window_view(padded, (3, 3), axis=(0, 1)).reshape(*values.shape, 9)
    return np.delete(windows, 4, axis=-1)
