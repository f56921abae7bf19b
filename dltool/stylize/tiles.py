"""Cutting an image into tiles whose features, computed one tile at a time, are exactly those of the whole."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dltool.stylize.geometry import Geometry

_AGREEMENT = 0.02  # of the features' norm: a wrong column in a tile is far above it, the rounding of bf16 below


@dataclass(frozen=True)
class Span:
    """A stretch of pixels along one side: `inner` belongs to it alone, `outer` is what the network must see."""

    outer: tuple[int, int]
    inner: tuple[int, int]
    length: int

    @property
    def outside(self) -> slice:
        """The outer pixels, in the whole image."""
        return slice(*self.outer)

    @property
    def inside(self) -> slice:
        """The inner pixels, in the whole image."""
        return slice(*self.inner)

    def pixels(self, beyond: int = 0) -> slice:
        """The inner pixels, counted from the tile's first, and `beyond` more at the end where the image goes on."""
        stop = min(self.inner[1] + beyond, self.outer[1])
        return slice(self.inner[0] - self.outer[0], stop - self.outer[0])

    def features(self, stride: int) -> slice:
        """The inner features of a layer with `stride`, counted from the tile's first."""
        start = (self.inner[0] - self.outer[0]) // stride
        if self.inner[1] == self.length:
            return slice(start, None)
        return slice(start, start + (self.inner[1] - self.inner[0]) // stride)

    def features_of_whole(self, stride: int) -> slice:
        """The same features, counted from the image's first."""
        stop = None if self.inner[1] == self.length else self.inner[1] // stride
        return slice(self.inner[0] // stride, stop)


@dataclass(frozen=True)
class Tile:
    """A part of an image: its rows and its columns."""

    rows: Span
    columns: Span

    def cut(self, image: Tensor) -> Tensor:
        """The outer pixels of a 1 × C × H × W image."""
        return image[..., self.rows.outside, self.columns.outside]

    def inner_pixels(self, piece: Tensor, below: int = 0, right: int = 0) -> Tensor:
        """The inner pixels of what `cut` gave, with rows `below` and columns to the `right` of them."""
        return piece[..., self.rows.pixels(below), self.columns.pixels(right)]

    def inner_features(self, features: Tensor, stride: int) -> Tensor:
        """The features, of those that the network gave for what `cut` gave, that belong to the inner pixels."""
        return features[..., self.rows.features(stride), self.columns.features(stride)]

    def place_features(self, features: Tensor, stride: int) -> Tensor:
        """The same features among those of the whole image."""
        return features[..., self.rows.features_of_whole(stride), self.columns.features_of_whole(stride)]


def whole_tile(height: int, width: int) -> Tile:
    """One tile that is the image."""
    return Tile(Span((0, height), (0, height), height), Span((0, width), (0, width), width))


def cut_tiles(height: int, width: int, side: int, geometry: Geometry) -> list[Tile]:
    """Cut an image into tiles of at most about `side` × `side` outer pixels, row by row.

    The halo is inside `side`; inner parts are never smaller than one total stride, whatever `side` says.
    """
    columns = list(_spans(width, side, geometry))
    return [Tile(rows, column) for rows in _spans(height, side, geometry) for column in columns]


@torch.no_grad()
def tiles_agree(network: Callable[[Tensor], Mapping[str, Tensor]], geometry: Geometry, device: torch.device) -> bool:
    """Try on a small random image, dark on one side, whether tiles have the features of the whole.

    They do not where a layer depends on a feature's place in the image (windows counted from the edge, maps that
    are resized to a common size) or on all of it by a way that `measure_geometry` cannot see.

    Args:
        network: gives features by the names that `geometry` has, of images on `device`.
    """
    inner = 3 * geometry.total_stride
    side = 2 * geometry.halo + inner
    width = side + 2 * inner + geometry.total_stride // 2 + 1
    height = max(128, 2 * geometry.total_stride)  # convolutions without padding need some
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    image = (image * torch.linspace(0, 1, width)).to(device)
    whole = network(image)
    rows = Span((0, height), (0, height), height)
    columns = list(_spans(width, side, geometry))
    for tile in (Tile(rows, columns[index]) for index in (0, len(columns) // 2, -1)):
        for name, maps in network(tile.cut(image)).items():
            stride = geometry.strides[name]
            wanted, found = tile.place_features(whole[name], stride), tile.inner_features(maps, stride)
            if wanted.shape != found.shape or not (found - wanted).norm() <= _AGREEMENT * wanted.norm():
                return False
    return True


def _spans(length: int, side: int, geometry: Geometry) -> Iterator[Span]:
    stride, halo = geometry.total_stride, geometry.halo
    if length <= side:
        yield Span((0, length), (0, length), length)
        return
    inner = max(stride, (side - 2 * halo) // stride * stride)
    count = -(-length // inner)
    inner = -(-length // (count * stride)) * stride  # as even as whole strides allow
    for start in range(0, length, inner):
        stop = min(start + inner, length)
        # Padding of TensorFlow's "same" kind depends on the parity of a map's size, at every stride. A tile whose
        # length differs from the image's by whole total strides has the image's parities everywhere.
        end = stop + halo
        end = min(length, end + (length - end) % stride)
        yield Span((max(0, start - halo), end), (start, stop), length)
