"""What the painting asks for: Gram matrices of one style image or of a blend, computed once for each size."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.images.read import fit_longest, read_image
from dltool.images.tensors import resize_image, to_tensor
from dltool.stylize.colors import ColorStatistics, color_statistics, luminance, mix_statistics, move_colors
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.losses import gram_sum
from dltool.stylize.settings import GramForm, StylizeSettings
from dltool.stylize.styles import Style
from dltool.stylize.tiles import Tile, cut_tiles, whole_tile

_KEPT_SIZES = 64


class StyleTargets:
    """Gram matrices and colours of a style: one image, or several blended by their weights.

    A blend's Gram matrices are the weighted mean of the images' own; being nearest to that mean and being nearest
    to all of the images at once are the same thing.
    """

    def __init__(self, network: FeatureNetwork, style: Tensor | Sequence[tuple[Tensor, float]]) -> None:
        """Take a 1 × 3 × H × W image in [0, 1], or several with weights above zero, at the largest size needed."""
        images = [(style, 1.0)] if isinstance(style, Tensor) else list(style)
        total = sum(weight for _, weight in images)
        self._images = [(image, weight / total) for image, weight in images]
        self._network = network
        self._grams: dict[tuple, dict[str, Tensor]] = {}
        self._grey: StyleTargets | None = None
        self.colors: ColorStatistics = mix_statistics(
            [(color_statistics(image), weight) for image, weight in self._images]
        )

    @property
    def image(self) -> Tensor:
        """The style image, of several the one with the largest weight."""
        return max(self._images, key=lambda pair: pair[1])[0]

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
            for photo, weight in self._images:
                image = resize_tensor(photo, fit_longest(photo.shape[:1:-1], longest_side)).to(device)
                for name, matrix in style_grams(self._network, image, gram, tile_side).items():
                    mixed[name] = weight * matrix if name not in mixed else mixed[name] + weight * matrix
            if len(self._grams) >= _KEPT_SIZES:  # photos of a thousand sizes do not fill the memory
                del self._grams[next(iter(self._grams))]
            self._grams[key] = mixed
        return self._grams[key]

    def recolored(self, colors: ColorStatistics) -> "StyleTargets":
        """The same style painted in other colours."""
        images = [(move_colors(image, color_statistics(image), colors), weight) for image, weight in self._images]
        return StyleTargets(self._network, images)

    def grey(self) -> "StyleTargets":
        """The same style without its colours."""
        if self._grey is None:
            self._grey = StyleTargets(self._network, [(luminance(image), weight) for image, weight in self._images])
        return self._grey


def read_style(style: Style, settings: StylizeSettings) -> list[tuple[Tensor, float]]:
    """Read a style's paintings, with their weights, no larger than results of `settings.size` have use for.

    Raises:
        DataError: one of them cannot be read.
    """
    limit = None if settings.size is None else round(settings.size * max(1.0, settings.style_scale))
    images = []
    for path, weight in style.images:
        image = read_image(path, limit)
        if limit is not None and max(image.size) > limit:
            image = resize_image(image, limit)
        images.append((to_tensor(image.pixels), weight))
    return images


@torch.no_grad()
def style_grams(
    network: FeatureNetwork, image: Tensor, gram: GramForm = GramForm.POSITIONS, tile_side: int | None = None
) -> dict[str, Tensor]:
    """Gram matrices, N × C × C, of the features of N × 3 × H × W images at the network's style layers."""
    sums: dict[str, Tensor] = {}
    positions: dict[str, int] = {}
    for tile in tiles_of(network, image, tile_side):
        features = inner_features(network, tile, tile.cut(image), network.style_layers)
        for name, maps in features.items():
            sums[name] = sums.get(name, 0) + gram_sum(maps)
            positions[name] = positions.get(name, 0) + maps.shape[2:].numel()
    return {name: matrix / gram_divisor(gram, positions[name], matrix.shape[-1]) for name, matrix in sums.items()}


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


def resize_tensor(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize 1 × C × H × W to (width, height), antialiased."""
    if image.shape[:1:-1] == size:
        return image
    return F.interpolate(image, size[::-1], mode="bicubic", antialias=True, align_corners=False)
