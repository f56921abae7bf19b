"""The training image nearest to each sample, so that a generator that copies is found out."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dltool.gan.metrics import squared_distances
from dltool.images.sheet import Tile, contact_sheet, stack_pages
from dltool.images.tensors import pool_areas
from dltool.training.seeds import new_generator

_SIDE = 32
_ROWS = 4096
_COLUMNS = 8
_TILE = 96
_GAP = 2
_LOOKED_AT = 1000
_CLOSE, _MANY_COPIES = 0.01, 0.05


@dataclass(frozen=True)
class Nearest:
    """For each of N images the training image that is nearest in pixels.

    Attributes:
        images: N × C × H × W uint8.
        neighbours: N × C × H × W uint8, the nearest training images.
        distances: N, root of the mean squared difference of pixels in [0, 1]; 0 for a copy, up to 1.
    """

    images: Tensor
    neighbours: Tensor
    distances: Tensor

    @property
    def spread(self) -> dict[str, float]:
        """The median and the least of the distances."""
        return {"median": float(self.distances.median()), "least": float(self.distances.min())}


@dataclass(frozen=True)
class Copies:
    """How many of `samples` images are nearer to a training image than 99 % of training images are to each other.

    Attributes:
        distance: that 99 % are farther than this from their nearest; as in `Nearest`.
    """

    count: int
    samples: int
    distance: float

    @property
    def suspicious(self) -> bool:
        """Whether they are far more than the one in a hundred that is so by chance."""
        return self.count > max(3, _MANY_COPIES * self.samples)


def count_copies(nearest: Nearest, training: Tensor, seed: int = 0) -> Copies:
    """Hold samples' distances to `training`, M × C × H × W uint8 with M above 1, against those within it."""
    chosen = torch.randperm(len(training), generator=new_generator(seed, "copies"))[:_LOOKED_AT]
    distances = find_nearest(training[chosen], training, own=chosen).distances
    apart = distances[distances > 0]  # a training image that is there twice says nothing of the others
    border = float(apart.quantile(_CLOSE)) if len(apart) else 0.0
    return Copies(int((nearest.distances <= border).sum()), len(nearest.distances), border)


def find_nearest(images: Tensor, training: Tensor, own: Tensor | None = None) -> Nearest:
    """Compare N × C × H × W with M × C × H × W uint8 images, larger ones reduced to 32 pixels by area.

    Args:
        own: N, each image's own place among the training images, which is not looked at; None: they are others.
    """
    rows = _flat(images)
    best = torch.full((len(rows),), torch.inf)
    indices = torch.zeros(len(rows), dtype=torch.long)
    for start in range(0, len(training), _ROWS):
        distances = squared_distances(rows, _flat(training[start : start + _ROWS]))
        if own is not None:
            here = ((own >= start) & (own < start + distances.shape[1])).nonzero()[:, 0]
            distances[here, own[here] - start] = torch.inf
        found = distances.min(1)
        closer = found.values < best
        best = torch.where(closer, found.values, best)
        indices = torch.where(closer, found.indices + start, indices)
    neighbours = training[indices]
    # Once more as plain differences: norms and products cancel where the images are equal.
    exact = (rows - _flat(neighbours)).square().mean(1).sqrt()
    return Nearest(images, neighbours, exact)


def _flat(photos: Tensor) -> Tensor:
    images = photos.float() / 255
    longest = max(images.shape[-2:])
    if longest > _SIDE:
        height, width = (max(1, round(side * _SIDE / longest)) for side in images.shape[-2:])
        images = pool_areas(images, (height, width))
    return images.flatten(1)


def nearest_sheet(nearest: Nearest, rows: int = 4) -> np.ndarray:
    """A page of samples, each beside its nearest training image: those nearest of all, then the first ones.

    Returns:
        H × W × 3 uint8.
    """
    count = rows * _COLUMNS
    order = nearest.distances.argsort()[:count]
    first = torch.arange(min(count, len(nearest.distances)))
    pages = []
    for title, chosen in (("nearest of all", order), ("the first", first)):
        tiles = [
            Tile(_pair(nearest.images[i], nearest.neighbours[i]), f"#{i} {nearest.distances[i]:.3f}")
            for i in chosen.tolist()
        ]
        text = f"sample | its nearest training picture, {title} of {len(nearest.distances)}"
        pages.append(contact_sheet(tiles, _COLUMNS, 2 * _TILE, text))
    return stack_pages(pages)


def _pair(left: Tensor, right: Tensor) -> np.ndarray:
    """Two C × H × W images side by side, enlarged so that the gap is thin beside them."""
    scale = max(1, -(-_TILE // max(left.shape[-2:])))
    sides = [
        side.expand(3, -1, -1).permute(1, 2, 0).numpy().repeat(scale, 0).repeat(scale, 1) for side in (left, right)
    ]
    gap = np.full((len(sides[0]), _GAP, 3), 250, np.uint8)
    return np.concatenate([sides[0], gap, sides[1]], axis=1)
