"""Which values of an image of integers or floats are black and white: by its range, without what is no data."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

# Beyond it a float is a mark for "no data", whatever the file says: the least float32 is the usual one.
_NO_DATA_BELOW = -1e30
_NO_DATA_ABOVE = 1e15  # what is frequent and far above, but no more than this, may be a saturated sensor
_MOST_SAMPLED = 2**20
_REPEATED_SHARE = 0.001
_USUAL_WHITES = (1.0, 255.0, 65535.0)


@dataclass(frozen=True)
class Levels:
    """Values from `black` to `white` are 0 to 255; `no_data` is a value that stands for none, shown black."""

    black: float
    white: float
    no_data: float | None = None

    def to_eight_bits(self, values: np.ndarray) -> np.ndarray:
        """Scale values of any shape to uint8, rounded and clipped; NaN is 0."""
        scaled = values.astype(np.float64)
        scaled -= self.black
        scaled *= 255.0 / (self.white - self.black)
        np.rint(np.clip(np.nan_to_num(scaled, copy=False, nan=0.0, posinf=255.0, neginf=0.0), 0, 255), out=scaled)
        if self.no_data is not None:
            scaled[values == values.dtype.type(self.no_data)] = 0
        return scaled.astype(np.uint8)


def find_levels(strips: Iterable[np.ndarray], count: int, declared: float | None = None) -> Levels:
    """Look at an image's values, `count` in all, and tell what is black and what is white.

    Integers that are not negative, without no data among them, go up to 65535 or to their maximum. Values that reach
    about 1, 255 or 65535 have that white, so that a few highlights beyond it do not darken the image; all others are
    stretched from their lower to their upper 0.5 %. NaN, infinity and what is no data are not looked at: the value
    that the file declares, what is below -1e30, and a lowest or highest value that is frequent and far from all others.

    Args:
        strips: the values, in parts of any shape.
        declared: the value that the file says stands for no data.
    """
    step = -(-count // _MOST_SAMPLED)
    samples, highest, whole = [], -np.inf, True
    for strip in strips:
        whole = whole and np.issubdtype(strip.dtype, np.integer)
        flat = strip.reshape(-1)
        if whole and flat.size:
            highest = max(highest, float(flat.max()))
        samples.append(flat[::step].astype(np.float64))
    values = np.concatenate(samples) if samples else np.zeros(1)
    values = values[np.isfinite(values) & (values > _NO_DATA_BELOW)]
    if declared is not None:
        values = values[values != float(np.float32(declared)) if not whole else values != declared]
    no_data = declared
    if no_data is None:
        no_data = _extreme_value(values)
        values = values if no_data is None else values[values != no_data]
    if not values.size:
        return Levels(0.0, 1.0, no_data)
    if whole and no_data is None and values.min() >= 0:
        return Levels(0.0, max(65535.0, highest))
    return Levels(*_limits(values), no_data)


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = (float(limit) for limit in np.percentile(values, (0.5, 99.5)))
    if low >= -0.1 * high:  # what overshoots below black, as a sharpened image does, is no other black
        for white in _USUAL_WHITES:
            if high <= 1.5 * white and (white == 1.0 or high >= 0.25 * white):
                return 0.0, white
    if low == high:
        low, high = float(values.min()), float(values.max())
    return low, high if high > low else low + 1.0


def _extreme_value(values: np.ndarray) -> float | None:
    """A lowest or highest value that many pixels have and that is farther from the others than these are apart."""
    if values.size < 4:
        return None
    low, high = float(values.min()), float(values.max())
    for extreme in (low, high):
        if abs(extreme) < 2:  # an image's own black or white
            continue
        others = values[values != extreme]
        if others.size < 2 or values.size - others.size < max(2, _REPEATED_SHARE * values.size):
            continue
        least, most = float(others.min()), float(others.max())
        gap = least - extreme if extreme == low else extreme - most
        if most > least and gap > most - least and (extreme < 0 or extreme >= _NO_DATA_ABOVE):
            return extreme
    return None


def declared_no_data(text: object) -> float | None:
    """The value that GDAL's tag of a TIFF file says stands for no data."""
    try:
        return float(str(text).strip("\0 "))
    except ValueError:
        return None
