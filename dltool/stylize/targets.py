"""What the painting asks for: Gram matrices of one style image or of a blend, computed once for each size."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.errors import DataError
from dltool.images.read import fit_longest, read_image
from dltool.images.tensors import pool_areas, resize_image, to_tensor
from dltool.images.transparency import cut_to_visible, fill_transparent, visible_share
from dltool.stylize.colors import (
    ColorStatistics,
    chroma_variation,
    color_statistics,
    luminance,
    mix_statistics,
    move_colors,
)
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.losses import gram_sum
from dltool.stylize.settings import GramForm, StylizeSettings
from dltool.stylize.styles import Style
from dltool.stylize.tiles import Tile, cut_tiles, whole_tile

_KEPT_SIZES = 64
# Where the grain of results was as little as the paintings' own at --chroma-weight 3, and how far calmer ones go.
_LIVELY = 3e-3
_CALMEST = 40.0


class Painting(NamedTuple):
    """A style image, 1 × 3 × H × W in [0, 1], its weight in a blend, and how much each pixel of it counts.

    `opacity` is 1 × 1 × H × W in [0, 1]; None: all count alike.
    """

    image: Tensor
    weight: float = 1.0
    opacity: Tensor | None = None


class StyleTargets:
    """Gram matrices and colours of a style: one image, or several blended by their weights.

    A blend's Gram matrices are the weighted mean of the images' own; being nearest to that mean and being nearest
    to all of the images at once are the same thing.
    """

    def __init__(self, network: FeatureNetwork, style: Tensor | Sequence[Painting | tuple[Tensor, float]]) -> None:
        """Take a 1 × 3 × H × W image in [0, 1], or several with weights above zero, at the largest size needed."""
        paintings = [Painting(style)] if isinstance(style, Tensor) else [Painting(*each) for each in style]
        total = sum(painting.weight for painting in paintings)
        self._paintings = [painting._replace(weight=painting.weight / total) for painting in paintings]
        self._network = network
        self._grams: dict[tuple, dict[str, Tensor]] = {}
        self._calmness: dict[int, float] = {}
        self._grey: StyleTargets | None = None
        self.colors: ColorStatistics = mix_statistics(
            [(color_statistics(image, opacity), weight) for image, weight, opacity in self._paintings]
        )

    @property
    def image(self) -> Tensor:
        """The style image, of several the one with the largest weight."""
        return max(self._paintings, key=lambda painting: painting.weight).image

    def at(
        self,
        longest_side: int,
        device: torch.device,
        gram: GramForm = GramForm.POSITIONS,
        tile_side: int | None = None,
    ) -> dict[str, Tensor]:
        """Return the Gram matrix, 1 × C × C, of every style layer with the images scaled to `longest_side`.

        Images larger than `tile_side` go through the network in tiles.
        """
        key = (longest_side, gram)
        if key not in self._grams:
            mixed: dict[str, Tensor] = {}
            scaled = self.scaled(longest_side, device)
            for (image, opacity), (_, weight, _) in zip(scaled, self._paintings, strict=True):
                for name, matrix in style_grams(self._network, image, gram, tile_side, opacity).items():
                    mixed[name] = weight * matrix if name not in mixed else mixed[name] + weight * matrix
            if len(self._grams) >= _KEPT_SIZES:  # photos of a thousand sizes do not fill the memory
                del self._grams[next(iter(self._grams))]
            self._grams[key] = mixed
        return self._grams[key]

    def calmness(self, longest_side: int) -> float:
        """By how much more steadily the colours run at `longest_side` than a lively painting's, 1 to 40.

        Grain that vanishes among lively colours stands out in a painting that is nearly grey.
        """
        if longest_side not in self._calmness:
            scaled = self.scaled(longest_side, torch.device("cpu"))
            pairs = zip(scaled, self._paintings, strict=True)
            variation = sum(weight * chroma_variation(image, opacity) for (image, opacity), (_, weight, _) in pairs)
            self._calmness[longest_side] = min(_CALMEST, max(1.0, _LIVELY / max(variation, 1e-9)))
        return self._calmness[longest_side]

    def scaled(self, longest_side: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield each painting scaled to `longest_side`, and how much each of its pixels counts."""
        for painting, _, opacity in self._paintings:
            size = fit_longest(painting.shape[:1:-1], longest_side)
            if opacity is not None:
                opacity = F.interpolate(opacity, size[::-1], mode="area").to(device)
            yield resize_tensor(painting, size).to(device), opacity

    def recolored(self, colors: ColorStatistics) -> "StyleTargets":
        """The same style painted in other colours."""
        paintings = [
            each._replace(image=move_colors(each.image, color_statistics(each.image, each.opacity), colors))
            for each in self._paintings
        ]
        return StyleTargets(self._network, paintings)

    def grey(self) -> "StyleTargets":
        """The same style without its colours."""
        if self._grey is None:
            grey = [each._replace(image=luminance(each.image)) for each in self._paintings]
            self._grey = StyleTargets(self._network, grey)
        return self._grey


def read_style(style: Style, settings: StylizeSettings) -> list[Painting]:
    """Read a style's paintings, with their weights, no larger than results of `settings.size` have use for.

    Of a painting with transparency the opaque part is the style: it is cut to that, and what is still transparent does
    not count.

    Raises:
        DataError: one of them cannot be read, or nothing of it can be seen.
    """
    limit = None if settings.size is None else round(settings.size * max(1.0, settings.style_scale))
    paintings = []
    for path, weight in style.images:
        image = fill_transparent(cut_to_visible(read_image(path, limit, on_white=False)))
        if image.alpha is not None and not image.alpha.any():
            raise DataError(f"{path}: wholly transparent, so that it has no style to give")
        if limit is not None and max(image.size) > limit:
            image = resize_image(image, limit)
        paintings.append(Painting(to_tensor(image.pixels), weight, visible_share(image.alpha)))
    return paintings


@torch.no_grad()
def style_grams(
    network: FeatureNetwork,
    image: Tensor,
    gram: GramForm = GramForm.POSITIONS,
    tile_side: int | None = None,
    mask: Tensor | None = None,
) -> dict[str, Tensor]:
    """Gram matrices, N × C × C, of the features of N × 3 × H × W images at the network's style layers.

    A 1 × 1 × H × W `mask` in [0, 1] weighs the positions.
    """
    sums: dict[str, Tensor] = {}
    positions: dict[str, float] = {}
    tiles = tiles_of(network, image, tile_side)
    masks = {} if mask is None else _layer_masks(network, image, mask, tiles[-1])
    for tile in tiles:
        features = inner_features(network, tile, tile.cut(image), network.style_layers)
        for name, maps in features.items():
            share = masks.get(name)
            if share is not None and len(tiles) > 1:
                share = tile.place_features(share, network.geometry.strides[name])
            count = maps.shape[2:].numel() if share is None else share.sum().item()
            sums[name] = sums.get(name, 0) + gram_sum(maps, share)
            positions[name] = positions.get(name, 0) + count
    positions = {name: max(count, 1e-6) for name, count in positions.items()}
    return {name: matrix / gram_divisor(gram, positions[name], matrix.shape[-1]) for name, matrix in sums.items()}


def _layer_masks(network: FeatureNetwork, image: Tensor, mask: Tensor, last: Tile) -> dict[str, Tensor]:
    """The mask at the size of each style layer's maps, which the image's last tile tells."""
    masks = {}
    for name, maps in inner_features(network, last, last.cut(image), network.style_layers).items():
        rows, columns = maps.shape[2:]
        if (last.rows.inner[0], last.columns.inner[0]) != (0, 0):
            stride = network.geometry.strides[name]
            rows, columns = rows + last.rows.inner[0] // stride, columns + last.columns.inner[0] // stride
        masks[name] = pool_areas(mask, (rows, columns))
    return masks


def gram_divisor(gram: GramForm, positions: float, channels: int) -> float:
    """What a Gram matrix's sum over positions is divided by."""
    return {GramForm.POSITIONS: positions, GramForm.ELEMENTS: positions * channels, GramForm.SUM: 1}[gram]


def tiles_of(network: FeatureNetwork, image: Tensor, tile_side: int | None) -> list[Tile]:
    """The tiles of an image: one where it is no larger than `tile_side`, which None never is."""
    height, width = image.shape[2:]
    if tile_side is None or max(height, width) <= tile_side:
        return [whole_tile(height, width)]
    return cut_tiles(height, width, tile_side, network.geometry)


def inner_features(network: FeatureNetwork, tile: Tile, piece: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
    """Features of `layers` that belong to a tile's inner pixels, from the tile's pixels."""
    features = network(piece)
    if tile == whole_tile(tile.rows.length, tile.columns.length):
        return {name: features[name] for name in layers}
    strides = network.geometry.strides
    return {name: tile.inner_features(features[name], strides[name]) for name in layers}


def whole_features(
    network: FeatureNetwork, image: Tensor, tile_side: int | None, layers: Sequence[str]
) -> dict[str, Tensor]:
    """Features of `layers` of the whole image, N × C × h × w, computed tile by tile."""
    rows: dict[str, list[Tensor]] = {name: [] for name in layers}
    for _, tiles in groupby(tiles_of(network, image, tile_side), lambda tile: tile.rows):
        parts = [inner_features(network, tile, tile.cut(image), layers) for tile in tiles]
        for name in layers:
            rows[name].append(torch.cat([part[name] for part in parts], 3))
    return {name: torch.cat(maps, 2) for name, maps in rows.items()}


def resize_tensor(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize 1 × C × H × W to (width, height), antialiased."""
    if image.shape[:1:-1] == size:
        return image
    return F.interpolate(image, size[::-1], mode="bicubic", antialias=True, align_corners=False)
