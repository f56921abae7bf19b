"""Which images may show the same: thumbnails compared in every orientation, whole with whole and whole with part."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from dltool.cluster.clustering import GroupingStep
from dltool.images.tensors import luma

SIDE = 64
ORIENTATIONS = 8
# What is compared: brightness less its mean around, and colour more coarsely.
_CELLS, _AROUND, _COLOR_CELLS, _COLOR_SHARE = 12, 7, 4, 0.2
# A part this much off its place, in shares of the image, still resembles: parts are taken in such steps.
_PARTS, _STEP = (0.9, 0.8, 0.7, 0.6), 0.1
_OVERLAPS = (0.85, 0.7)
_COLUMNS = 1024
_MOST_ALIKE = 10
# Chosen on 100 photos of bsds300 by benchmarks/duplicates.py: parts of 80 % are above it.
MAYBE = 0.6


@dataclass(frozen=True)
class Candidates:
    """Pairs of images that may show the same.

    Attributes:
        first, second: P numbers of images.
        orientation: P numbers of what `turned` does to the second image so that it lies as the first.
        start: P × 3: scale and shift (x, y) from places in the turned second image to those in the first, both from
            -1 to 1.
    """

    first: np.ndarray
    second: np.ndarray
    orientation: np.ndarray
    start: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: np.ndarray | slice) -> "Candidates":
        """Some of them."""
        return Candidates(self.first[rows], self.second[rows], self.orientation[rows], self.start[rows])


@dataclass(frozen=True)
class _View:
    """How a pair is compared: which rows of the first images with which of the second."""

    own: int
    features: Tensor
    orientation: int
    start: tuple[float, float, float]


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """The whole of H × W × 3 uint8 pixels as a square of `SIDE`, whatever its shape, so that it can be turned."""
    return np.array(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3))


def turned(images: Tensor, orientation: int) -> Tensor:
    """… × H × W images turned by `orientation % 4` quarters to the left, and from 4 on mirrored after that."""
    images = torch.rot90(images, orientation % 4, (-2, -1))
    return images.flip(-1) if orientation >= 4 else images


def inverse(orientation: int) -> int:
    """The orientation that turns back what was turned."""
    return orientation if orientation >= 4 else -orientation % 4


def without_surroundings(grey: Tensor, around: int) -> Tensor:
    """B × 1 × H × W less the mean of the square of `around` pixels about each place: light and shade are gone."""
    half = around // 2
    padded = functional.pad(grey, (half, half, half, half), mode="replicate")
    return grey - functional.avg_pool2d(padded, around, 1)


def find_candidates(thumbnails: Tensor) -> Generator[GroupingStep, None, Candidates]:
    """Compare all pairs of N × 3 × `SIDE` × `SIDE` uint8 thumbnails; of each image keep the likeliest others.

    Blocks of products of short descriptors: no N × N table, 0.2 GB for 10,000 images.
    """
    count = len(thumbnails)
    own = torch.stack([_features(thumbnails, window) for window in _first_windows()])
    found: list[tuple[Tensor, ...]] = []
    for start in range(0, count, _COLUMNS):
        yield GroupingStep("comparing images", start, count)
        views = list(_views(thumbnails[start : start + _COLUMNS]))
        best = torch.full((count, len(views[0].features)), -1.0)
        which = torch.zeros(best.shape, dtype=torch.uint8)
        product = torch.empty_like(best)
        for number, view in enumerate(views):
            torch.mm(own[view.own], view.features.T, out=product)
            better = product > best
            which.masked_fill_(better, number)
            torch.maximum(best, product, out=best)
        columns = torch.arange(best.shape[1])
        best[start + columns, columns] = -1.0  # an image and itself
        scores, rows = best.topk(min(_MOST_ALIKE, count), dim=0)
        likely, at = (scores >= MAYBE).nonzero(as_tuple=True)
        rows = rows[likely, at]
        kinds = which[rows, at].long()
        starts = torch.tensor([view.start for view in views])[kinds]
        turns = torch.tensor([view.orientation for view in views])[kinds]
        found.append((rows, at + start, scores[likely, at], turns, starts))
    return _each_once(*(torch.cat(parts).numpy() for parts in zip(*found, strict=True)))


def _each_once(
    first: np.ndarray, second: np.ndarray, scores: np.ndarray, turns: np.ndarray, starts: np.ndarray
) -> Candidates:
    """Of a pair that was found from both of its sides the likelier way."""
    order = np.argsort(-scores, kind="stable")
    keys = (
        np.minimum(first, second)[order].astype(np.int64) * (len(first) + first.max(initial=0) + 1)
        + np.maximum(first, second)[order]
    )
    chosen = order[np.sort(np.unique(keys, return_index=True)[1])]
    return Candidates(first[chosen], second[chosen], turns[chosen], starts[chosen])


def _views(thumbnails: Tensor) -> Iterator[_View]:
    """All ways in which images are compared: turned, as parts of others, and shifted."""
    images = thumbnails.float()
    for orientation in range(ORIENTATIONS):
        yield _View(0, _features(turned(images, orientation)), orientation, (1.0, 0.0, 0.0))
    for share in _PARTS:
        steps = max(1, round((1 - share) / _STEP))
        for row in range(steps + 1):
            for column in range(steps + 1):
                left, top = (1 - share) * column / steps, (1 - share) * row / steps
                # The first image is what stands at this place of the second: from the second to the first it grows.
                start = 1 / share, (1 - share - 2 * left) / share, (1 - share - 2 * top) / share
                yield _View(0, _features(images, (share, left, top)), 0, start)
    for number, (share, left, top) in enumerate(_first_windows()[1:], start=1):
        opposite = share, 1 - share - left, 1 - share - top
        shift = 1.0, 2 * (left - opposite[1]), 2 * (top - opposite[2])
        yield _View(number, _features(images, opposite), 0, shift)


def _first_windows() -> list[tuple[float, float, float]]:
    """Size, left and top of what is compared of first images: the whole, and sides and corners that others may have."""
    windows = [(1.0, 0.0, 0.0)]
    for share in _OVERLAPS:
        rest = 1 - share
        windows += [(share, rest, rest / 2), (share, rest / 2, rest), (share, rest, rest), (share, 0.0, rest)]
    return windows


def _features(images: Tensor, window: tuple[float, float, float] = (1.0, 0.0, 0.0)) -> Tensor:
    """N × D float32 rows of length 1 that describe a window (size, left, top in shares) of N × 3 × H × W images."""
    share, left, top = window
    side = images.shape[-1]
    size, column, row = round(share * side), round(left * side), round(top * side)
    parts = []
    for piece in images[..., row : row + size, column : column + size].split(_COLUMNS):
        colors = piece.float()
        grey = luma(colors)
        cells = without_surroundings(functional.adaptive_avg_pool2d(grey, _CELLS), _AROUND).flatten(1)
        tints = functional.adaptive_avg_pool2d(colors - grey, _COLOR_CELLS).flatten(1)
        cells = functional.normalize(cells - cells.mean(1, keepdim=True)) * (1 - _COLOR_SHARE) ** 0.5
        parts.append(torch.cat([cells, functional.normalize(tints) * _COLOR_SHARE**0.5], dim=1))
    return torch.cat(parts)
