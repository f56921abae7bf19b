"""Colour maps: from one number per pixel to a colour, and laid over a photo."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from dltool.errors import SettingsError, did_you_mean


@cache
def color_table(name: str) -> np.ndarray:
    """Return matplotlib's colour map `name` as 256 × 3 uint8.

    Raises:
        SettingsError: no such colour map; the message suggests near names.
    """
    from matplotlib import colormaps

    if name not in colormaps:
        raise SettingsError(f"--colormap {name}: no such colour map{did_you_mean(name, list(colormaps))}")
    return np.rint(colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.uint8)


def colorize(values: np.ndarray, name: str) -> np.ndarray:
    """Return H × W numbers in [0, 1] (others are clipped, NaN is 0) as H × W × 3 uint8 colours."""
    indices = np.rint(np.nan_to_num(values).clip(0, 1) * 255).astype(np.uint8)
    return color_table(name)[indices]


def overlay(pixels: np.ndarray, values: np.ndarray, name: str, alpha: float) -> np.ndarray:
    """Blend the colours of H × W `values` in [0, 1] over H × W × 3 uint8 `pixels`; `alpha` 1 hides the photo."""
    photo, colors = Image.fromarray(pixels), Image.fromarray(colorize(values, name))
    return np.asarray(Image.blend(photo, colors, alpha))


@dataclass(frozen=True)
class ColorScale:
    """The numbers that a colour map's ends stand for; where `high` is not above `low`, all is drawn in the lowest."""

    low: float
    high: float
    colormap: str

    def colorize(self, values: np.ndarray) -> np.ndarray:
        """H × W numbers as H × W × 3 uint8 colours."""
        return colorize(rescale(values, self.low, self.high), self.colormap)


def rescale(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map [low, high] to [0, 1], clipped; an empty range gives zeros."""
    if not high > low:
        return np.zeros_like(values, dtype=np.float32)
    return ((values - low) / (high - low)).clip(0, 1).astype(np.float32)
