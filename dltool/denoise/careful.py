"""What denoising must know: images without noise stay as they are, single wrong pixels are no noise of a sensor."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import uniform_filter
from torch import Tensor

_FEW_COLORS = 256  # of an image that was drawn; any noise makes thousands
_FEW_GREYS = 32
# What is taken away around a pixel: below the first it is left, above the second all of it is taken.
_SPARED, _TRUSTED = 1.0 / 255, 2.5 / 255
_RADIUS = 15  # of the square in which that is measured, in pixels
_SQUARE = 4  # pixels of a side that are measured together
STRIP = 64 * _SQUARE  # rows that are worked on together
_BRIGHTNESSES = 6
_QUIETER = 25  # per cent of the parts of one brightness
_EXCESS = 1.3  # times what is taken from those may be taken anywhere
_JPEG_BLOCK = 8
_BLOCKY = 1.4  # from JPEG quality 30 downwards; 1 to 1.2 above 60
_EDGE = 10 / 255  # a step that counts no more when it is higher
_LOOKED_AT = 512  # rows and columns for that
_JUMP = 0.2  # of the range: from a wrong pixel to the median of its neighbours
_FEWEST_WRONG = 0.002  # of the pixels, white ones and black ones each
_AT_ONCE = 1 << 18  # pixels whose neighbours are looked at together
_CROWDED = 2.0  # times as many wrong neighbours as errors that know nothing of each other have
_UNLIKE = 4.0  # more white than black ones, or the reverse: a drawing's lines rather than errors
_NEARLY = 1 / 20  # of the range: pixels that are nearly black or white, as strong noise makes them and errors do not
_FEW_NEARLY = 0.15  # for each wrong one


def is_drawn(pixels: np.ndarray) -> bool:
    """Whether H × W × C pixels have so few colours that there is no noise in them: text, pixel art, a chart."""
    flat = pixels.reshape(-1, pixels.shape[2])
    if len(flat) < 16 * _FEW_COLORS:
        return False
    most = _FEW_GREYS if pixels.shape[2] == 1 else _FEW_COLORS
    # A photo shows more colours than that in any few of its pixels; only drawings are looked at whole.
    return all(len(np.unique(part, axis=0)) <= most for part in (flat[:: max(1, len(flat) // 4096)], flat))


def shares_to_take(pixels: np.ndarray, restored: np.ndarray, alike: bool) -> Tensor:
    """How much of what a network took from H × W × C pixels is noise, around each of them.

    Two rules, by the root mean square of what was taken within 32 pixels. Below one step of 8 bits nothing is taken,
    from two and a half on all of it: a photo without noise comes back as it was, though a network would change it by
    as much as it does not know for certain. And noise depends on brightness alone, so that what was taken in excess of
    the quieter parts of the same brightness was texture; but for compressed images, whose blocks and rings are where
    the edges are.

    Args:
        restored: of the shape and type of `pixels`.
        alike: apply the second rule.

    Returns:
        1 × 1 × h × w shares in [0, 1], one for every square of 4 × 4 pixels.
    """
    level, light = _levels(pixels, restored)
    shares = np.ones_like(level)
    if alike and _blockiness(pixels) < _BLOCKY:
        shares = np.minimum(1, _EXCESS * _quiet_level(level, light) / np.maximum(level, 1e-9))
    shares = shares * np.clip((shares * level - _SPARED) / (_TRUSTED - _SPARED), 0, 1)
    return torch.from_numpy(shares.astype(np.float32))[None, None]


def _levels(pixels: np.ndarray, restored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square of what was taken, and brightness, around each square of pixels; h × w in the range [0, 1]."""
    white = float(np.iinfo(pixels.dtype).max)
    height, width = pixels.shape[:2]
    energy = np.empty((-(-height // _SQUARE), -(-width // _SQUARE)), np.float32)
    light = np.empty_like(energy)
    for top in range(0, height, STRIP):
        strip = restored[top : top + STRIP].astype(np.float32) / white
        taken = pixels[top : top + STRIP].astype(np.float32) / white - strip
        rows = slice(top // _SQUARE, -(-min(top + STRIP, height) // _SQUARE))
        energy[rows] = _square_means(np.square(taken).mean(2))
        light[rows] = _square_means(strip.mean(2))
    side = (2 * _RADIUS + 2) // _SQUARE
    rounding = 1 / 12 / white**2  # of what was restored
    return np.sqrt(np.maximum(uniform_filter(energy, side) - rounding, 0)), uniform_filter(light, side)


def _square_means(values: np.ndarray) -> np.ndarray:
    """Means of the squares of H × W values; at the edges of what there is of a square."""
    padded = np.pad(values, [(0, -side % _SQUARE) for side in values.shape], mode="edge")
    height, width = padded.shape
    return padded.reshape(height // _SQUARE, _SQUARE, width // _SQUARE, _SQUARE).mean((1, 3))


def _quiet_level(level: np.ndarray, light: np.ndarray) -> np.ndarray:
    """The level of the quieter parts that are as bright as each place, h × w."""
    edges = np.unique(np.quantile(light, np.linspace(0, 1, _BRIGHTNESSES + 1)[1:-1]))
    group = np.searchsorted(edges, light)
    found = [(light[group == each].mean(), np.percentile(level[group == each], _QUIETER)) for each in np.unique(group)]
    brightness, quiet = zip(*found, strict=True)
    return np.interp(light, brightness, quiet)


def _blockiness(pixels: np.ndarray) -> float:
    """Steps at every eighth pixel over those elsewhere, as a JPEG of low quality shows them; 1 for none."""
    found = []
    for image in (pixels, pixels.swapaxes(0, 1)):
        if image.shape[1] < 4 * _JPEG_BLOCK:
            return 1.0
        rows = image[:: max(1, len(image) // _LOOKED_AT)].mean(2, dtype=np.float32) / np.iinfo(pixels.dtype).max
        steps = np.minimum(np.abs(np.diff(rows, axis=1)), _EDGE).mean(0)
        phases = np.array([steps[phase::_JPEG_BLOCK].mean() for phase in range(_JPEG_BLOCK)])
        found.append(float(phases.max() / max(np.median(phases), 1e-9)))
    return min(found)


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

    None where there are too few of them, not both kinds, more of them side by side than by chance, as in drawings, or
    many that are nearly black or white, as where strong noise has been cut off at both ends.
    """
    white = np.iinfo(pixels.dtype).max
    extreme = (pixels == white) | (pixels == 0)
    if extreme.any(2).mean() < _FEWEST_WRONG:
        return None
    salt, pepper = _alone(pixels, extreme)
    shares = salt.mean(), pepper.mean()
    if min(shares) < _FEWEST_WRONG or max(shares) > _UNLIKE * min(shares):
        return None
    wrong = salt | pepper
    nearly = ((pixels >= (1 - _NEARLY) * white) | (pixels <= _NEARLY * white)) & ~extreme
    if np.logical_or(*_alone(pixels, nearly)).sum() > _FEW_NEARLY * wrong.sum():
        return None
    beside = sum(_around(wrong[..., None], *part).sum() for part in _parts(wrong)) / wrong.sum()
    return None if beside > _CROWDED * 8 * wrong.mean() else wrong


def _alone(pixels: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """H × W each: the pixels of which a chosen value, of H × W × C, is far above or below its neighbours' median."""
    white = np.iinfo(pixels.dtype).max
    above, below = np.zeros(pixels.shape[:2], bool), np.zeros(pixels.shape[:2], bool)
    for rows, columns in _parts(chosen.any(2)):
        own, middle = pixels[rows, columns], np.median(_around(pixels, rows, columns), axis=-1)
        light, here = own > white / 2, chosen[rows, columns]
        above[rows, columns] = (here & light & (middle < (1 - _JUMP) * white)).any(1)
        below[rows, columns] = (here & ~light & (middle > _JUMP * white)).any(1)
    return above, below


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
