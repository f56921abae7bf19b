"""What the network sees of an image: all of it at its own shape, a square slid over it, or the centre's square."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import gcd
from pathlib import Path

import numpy as np
import torch

from dltool.featmap.network import Network, frozen
from dltool.featmap.occlusion import places_along
from dltool.featmap.settings import Fit
from dltool.images.depth import read_pixels
from dltool.images.tensors import resize_pixels

_LARGEST_STRIDE = 32
_FEWEST_CELLS = 7
_LONGEST = 4
_LARGEST_KEPT = 6_000_000


@dataclass(frozen=True)
class View:
    """One image as the network sees it.

    Attributes:
        pixels: H × W × 3 uint8, what maps are laid over, or of a large image what the network sees of it.
        seen: k × h × w × 3 uint8, the network's inputs; several where a square is slid over the image.
        places: top and left of each of them on the whole that they cover.
        size: height and width of that whole, in pixels of the inputs.
        again: reads a large image once more, where maps are laid over it, so that many can wait.
    """

    pixels: np.ndarray
    seen: np.ndarray
    places: tuple[tuple[int, int], ...]
    size: tuple[int, int]
    again: Callable[[], np.ndarray] | None = None

    def photo(self) -> np.ndarray:
        """H × W × 3 uint8 pixels of the image at its own resolution."""
        return self.pixels if self.again is None else self.again()

    def merge(self, maps: np.ndarray) -> np.ndarray:
        """Lay the inputs' k × C × h × w maps where they belong, averaged where they overlap: C × H × W.

        A map counts less towards its borders, so that no seams show there.
        """
        if len(maps) == 1:
            return maps[0]
        if maps.shape[2:] == (1, 1):  # a vector, which has no place
            return maps.mean(0)
        cells = maps.shape[2:]
        sides = tuple(zip(cells, self.seen.shape[1:3], strict=True))
        whole = tuple(round(length * cell / side) for length, (cell, side) in zip(self.size, sides, strict=True))
        total, count = np.zeros((maps.shape[1], *whole), np.float32), np.zeros(whole, np.float32)
        weight = np.outer(*(np.minimum(np.arange(cell) + 1, np.arange(cell, 0, -1)) for cell in cells))
        for one, place in zip(maps, self.places, strict=True):
            top, left = (round(start * cell / side) for start, (cell, side) in zip(place, sides, strict=True))
            total[:, top : top + cells[0], left : left + cells[1]] += weight * one
            count[top : top + cells[0], left : left + cells[1]] += weight
        return total / count

    def parts(self, whole: np.ndarray) -> np.ndarray:
        """Cut a map of `size` into those of the inputs, k × h × w: the way back from `merge`."""
        height, width = self.seen.shape[1:3]
        return np.stack([whole[top : top + height, left : left + width] for top, left in self.places])


def usable_fit(network: Network, fit: Fit) -> Fit:
    """The way that the network can see images: one that takes squares only has its square slid over them."""
    if network.shape is not None or network.preprocessing.fit != "crop":  # it has learnt from squares of whole images
        return Fit.CROP
    if fit is not Fit.WHOLE:
        return fit
    size, unit = network.size, _unit(network.size)
    try:
        with frozen(network.module), torch.no_grad():
            network.module(network.blank().new_zeros(1, network.in_channels, size, size + unit))
    except (AssertionError, ValueError, RuntimeError):  # what networks raise over a shape that they cannot take
        return Fit.SLIDE
    return fit


def look_at(network: Network, pixels: np.ndarray, fit: Fit) -> View:
    """Prepare H × W × 3 uint8 pixels for the network.

    The shorter side becomes the network's; the longer one is rounded so that the maps' cells fill it, and an image
    more than four times as long as it is wide is squeezed to that.
    """
    if fit is Fit.CROP:
        square = network.crop(pixels)
        return View(square, square[None], ((0, 0),), square.shape[:2])
    height, width = pixels.shape[:2]
    size = network.size
    unit = _unit(size)
    longer = size + unit * round(size * min(_LONGEST - 1, max(height, width) / min(height, width) - 1) / unit)
    shape = (size, longer) if width > height else (longer, size)
    whole = network.preprocessing.stretch_pixels(pixels, shape[::-1])
    if fit is Fit.WHOLE:
        return View(pixels, whole[None], ((0, 0),), shape)
    places = tuple((top, left) for top in places_along(shape[0], size) for left in places_along(shape[1], size))
    squares = np.stack([whole[top : top + size, left : left + size] for top, left in places])
    return View(pixels, squares, places, shape)


def read_view(network: Network, fit: Fit, path: Path, full: bool = True) -> View:
    """Read an image as the network sees it.

    Args:
        full: decode it at its full resolution, not only at what the network needs.

    Raises:
        DataError: the image cannot be read.
    """
    wanted = None if full and fit is not Fit.CROP else network.preprocessing.resize
    read = partial(read_pixels, path, wanted, network.preprocessing.white)
    view = look_at(network, read(), fit)
    if not full or view.pixels.size <= _LARGEST_KEPT:
        return view
    return replace(view, pixels=resize_pixels(view.pixels, view.size[::-1]), again=read)


def counts(views: Sequence[View]) -> list[int]:
    """How many inputs belong to each image."""
    return [len(view.seen) for view in views]


def _unit(size: int) -> int:
    """What the longer side is rounded to: a divisor of the shorter one and of the strides, if that distorts little."""
    unit = gcd(size, _LARGEST_STRIDE)
    while unit % 2 == 0 and unit > size / _FEWEST_CELLS:
        unit //= 2
    return unit
