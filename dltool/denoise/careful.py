"""What denoising must know: images without noise stay as they are, single wrong pixels are no noise of a sensor."""

from collections.abc import Iterator

import numpy as np
import torch.nn.functional as F
from torch import Tensor

_FEW_COLORS = 256  # of an image that was drawn; any noise makes thousands
_FEW_GREYS = 32
# What is taken away around a pixel: below the first it is left, above the second all of it is taken.
_SPARED, _TRUSTED = 1.0 / 255, 2.5 / 255
_RADIUS = 15  # of the square in which that is measured, in pixels
_JUMP = 0.2  # of the range: from a wrong pixel to the median of its neighbours
_FEWEST_WRONG = 0.002  # of the pixels, white ones and black ones each
_AT_ONCE = 1 << 18  # pixels whose neighbours are looked at together
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
    return taken * ((local_level(taken) - _SPARED) / (_TRUSTED - _SPARED)).clamp(0, 1)


def limit_energy(taken: Tensor, sigma: float) -> Tensor:
    """Scale 1 × C × H × W noise down where, around a pixel, its root mean square is above `sigma`.

    So a level that is told is the most that is taken away anywhere: what goes beyond it was no noise, or shall stay.
    """
    return taken * (sigma / local_level(taken).clamp(min=1e-12)).clamp(max=1)


def local_level(taken: Tensor) -> Tensor:
    """Root mean square of 1 × C × H × W noise in the square around each pixel, 1 × 1 × H × W."""
    energy = taken.square().mean(1, keepdim=True)
    return F.avg_pool2d(energy, 2 * _RADIUS + 1, stride=1, padding=_RADIUS, count_include_pad=False).sqrt()


def wrong_pixels(pixels: np.ndarray) -> np.ndarray | None:
    """H × W: which pixels are black or white alone among others, as faulty sensors and transmission leave them.

    None where there are too few of them, not both kinds, or more of them side by side than by chance, as in drawings.
    """
    white = np.iinfo(pixels.dtype).max
    extreme = ((pixels == white) | (pixels == 0)).any(2)
    if extreme.mean() < _FEWEST_WRONG:
        return None
    salt, pepper = np.zeros(pixels.shape[:2], bool), np.zeros(pixels.shape[:2], bool)
    for rows, columns in _parts(extreme):
        own, middle = pixels[rows, columns], np.median(_around(pixels, rows, columns), axis=-1)
        salt[rows, columns] = ((own == white) & (middle < (1 - _JUMP) * white)).any(1)
        pepper[rows, columns] = ((own == 0) & (middle > _JUMP * white)).any(1)
    shares = salt.mean(), pepper.mean()
    if min(shares) < _FEWEST_WRONG or max(shares) > _UNLIKE * min(shares):
        return None
    wrong = salt | pepper
    beside = sum(_around(wrong[..., None], *part).sum() for part in _parts(wrong)) / wrong.sum()
    return None if beside > _CROWDED * 8 * wrong.mean() else wrong


def replace_wrong(pixels: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """H × W × C pixels, the wrong ones replaced by the median of their right neighbours, in each channel."""
    for _ in range(3):  # where all neighbours are wrong, the next round has some that are repaired
        repaired, left = pixels.copy(), wrong.copy()
        for rows, columns in _parts(wrong):
            around = _around(pixels, rows, columns).astype(np.float32)
            around[np.broadcast_to(_around(wrong[..., None], rows, columns), around.shape)] = np.nan
            known = ~np.isnan(around).all((1, 2))
            medians = np.nanmedian(around[known], axis=-1)
            repaired[rows[known], columns[known]] = np.rint(medians).astype(pixels.dtype)
            left[rows, columns] = ~known
        pixels, wrong = repaired, left
        if not wrong.any():
            break
    return pixels


def _parts(chosen: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of the chosen pixels of H × W, so many at a time that their neighbours take little memory."""
    places = np.flatnonzero(chosen)
    for start in range(0, len(places), _AT_ONCE):
        yield np.unravel_index(places[start : start + _AT_ONCE], chosen.shape)  # type: ignore[misc]


def _around(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The eight neighbours of N pixels of H × W × C, N × C × 8; beyond the edge the image goes on by reflection."""
    height, width = values.shape[:2]
    found = [
        values[_reflected(rows + down, height), _reflected(columns + right, width)]
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
        if down or right
    ]
    return np.stack(found, axis=-1)


def _reflected(places: np.ndarray, length: int) -> np.ndarray:
    """Places one beyond either edge, reflected on it; of a single row or column there is only itself."""
    return np.clip(np.where(places >= length, 2 * length - 2 - places, np.abs(places)), 0, length - 1)
