"""The loss of an image and its gradient: at once, or tile by tile in bounded memory with the same result.

A Gram matrix is a sum over positions, so a first pass over the tiles without gradients gives every Gram matrix of the
whole image, and with them the gradient of the loss with respect to each; a second pass takes every tile's share of
it back to the pixels (Galerne et al., "Scaling Painting Style Transfer", 2022). A halo as wide as the receptive field
makes the tiles' features those of the whole image.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from dltool.device import is_out_of_memory
from dltool.images.tensors import constant, pool_areas
from dltool.stylize.colors import chroma
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.losses import energies, gram_sum, squared_distances, squares
from dltool.stylize.recorded import Recorded
from dltool.stylize.settings import LossForm, StylizeSettings
from dltool.stylize.targets import gram_divisor, inner_features, tiles_of
from dltool.stylize.tiles import Tile

Result = TypeVar("Result")

_KEPT_CONTENT_BYTES = 256 << 20
_SMALLEST_TILE = 64


class Losses(NamedTuple):
    """The weighted total, and the unweighted content and style loss."""

    total: float
    content: float
    style: float


@dataclass(frozen=True)
class Region:
    """A style's target for the Gram matrices, and where in the image (1 × 1 × H × W in [0, 1]; None: everywhere).

    Of every layer there is 1 × C × C for all images, or N × C × C, one for each. `calmness` multiplies the weight of
    smooth colours, for all images or for each of N.
    """

    grams: dict[str, Tensor]
    mask: Tensor | None = None
    calmness: Tensor | float = 1.0


@dataclass(frozen=True)
class Hold:
    """An image to stay near to, 1 × 3 × H × W, and how much, 1 × 1 × H × W."""

    image: Tensor
    weight: Tensor


class _Part(NamedTuple):
    """Of a region in a layer: Gram sums are divided by `divisor`, their distance by `scale`; its share of the image."""

    divisor: float
    scale: Tensor | float
    share: float


class Objective:
    """Content, style, smoothness, range and temporal loss of N images of one size, of each one its own.

    All of them go through the network at once, which gains where the network waits for something else than its
    arithmetic; nothing in one image's loss and gradient depends on the others but their rounding.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        content: Tensor,
        regions: Sequence[Region],
        settings: StylizeSettings,
        tile_side: int | None = None,
        hold: Hold | None = None,
        motifs: dict[str, Tensor] | None = None,
    ) -> None:
        """Take the N photos, N × 3 × H × W, at the size of the images to come, on the network's device.

        `tile_side` is the longest side, halo included, that the network sees at once; None for the whole image.
        `motifs` are what `settings.motif_weight` draws the content layers' features to, N × C × h × w.
        """
        self._network = network
        self._photo = content
        self._settings = settings
        self._hold = hold
        self._motifs = motifs or {}
        self._motif_energies = {
            name: energies(maps - maps.mean((2, 3), keepdim=True)) for name, maps in self._motifs.items()
        }
        self._regions = regions
        self._layers = tuple(dict.fromkeys((*network.content_layers, *network.style_layers)))
        self.tile_side = tile_side
        self._looked = False
        self._retrying(lambda: None)

    @property
    def seams(self) -> bool:
        """Whether tiles are in use that the network does not see as it sees the whole image."""
        return len(self._tiles) > 1 and not self._network.tiles_agree

    def evaluate(self, images: Tensor) -> tuple[list[Losses], Tensor]:
        """Return the losses of each of N × 3 × H × W images and the gradients of their totals, in the same shape."""
        return self._retrying(lambda: self._evaluate(images))

    def _retrying(self, work: Callable[[], Result]) -> Result:
        """Do the work, with half the tile as often as memory runs out; several images go alone before that."""
        while True:
            try:
                if not self._looked:
                    self._look_at_photo()
                    self._looked = True
                return work()
            except (MemoryError, RuntimeError) as error:
                side = self.tile_side or max(self._photo.shape[2:])
                if not is_out_of_memory(error) or side // 2 < _SMALLEST_TILE or len(self._photo) > 1:
                    raise
            # Outside of the handler: the error's traceback no longer holds the tensors of the failed attempt.
            self.tile_side, self._looked = side // 2, False
            if self._photo.device.type == "cuda":
                torch.cuda.empty_cache()

    @torch.no_grad()
    def _look_at_photo(self) -> None:
        """Learn the layers' sizes, the content's energies and, where they are small, its features."""
        self._tiles = tiles_of(self._network, self._photo, self.tile_side)
        self._recorded = Recorded()
        self._energies = dict.fromkeys(self._network.content_layers, 0)
        self._elements = dict.fromkeys(self._layers, 0)
        self._channels = {}
        kept: dict[tuple[int, str], Tensor] = {}
        rows: dict[str, dict[int, int]] = {name: {} for name in self._layers}
        columns: dict[str, dict[int, int]] = {name: {} for name in self._layers}
        for index, tile in enumerate(self._tiles):
            features = inner_features(self._network, tile, tile.cut(self._photo), self._layers)
            for name, maps in features.items():
                rows[name][tile.rows.inner[0]], columns[name][tile.columns.inner[0]] = maps.shape[2:]
                self._elements[name] += maps[0].numel()
                self._channels[name] = maps.shape[1]
            for name in self._network.content_layers:
                self._energies[name] = self._energies[name] + squares(features[name].float())
                kept[index, name] = features[name].clone()
            if sum(maps.nbytes for maps in kept.values()) > _KEPT_CONTENT_BYTES and len(self._tiles) > 1:
                kept.clear()
        complete = len(kept) == len(self._tiles) * len(self._network.content_layers)
        self._content = kept if complete else None
        self._sizes = {name: (sum(rows[name].values()), sum(columns[name].values())) for name in self._layers}
        self._energies = {name: energy.clamp_min(1e-8) for name, energy in self._energies.items()}
        self._masks = [self._layer_masks(region.mask) for region in self._regions]
        self._calmness = self._mean_calmness()
        self._parts = {
            (number, name): self._region_part(number, name)
            for number in range(len(self._regions))
            for name in self._network.style_layers
        }

    def _mean_calmness(self) -> Tensor | float:
        """Of all regions by their shares."""
        if len(self._regions) == 1:
            return self._regions[0].calmness
        shares = [region.mask.sum() for region in self._regions]
        weighted = sum(share * region.calmness for share, region in zip(shares, self._regions, strict=True))
        return weighted / sum(shares).clamp_min(1e-6)

    def _layer_masks(self, mask: Tensor | None) -> dict[str, Tensor]:
        if mask is None:
            return {}
        return {name: pool_areas(mask, self._sizes[name]) for name in self._network.style_layers}

    def _evaluate(self, images: Tensor) -> tuple[list[Losses], Tensor]:
        images = images.detach()
        losses, gradient = self._recorded(self._whole, images) if len(self._tiles) == 1 else self._by_tiles(images)
        # The only number that is waited for in a step: the losses of N images, fetched from the device in one go.
        return [Losses(*each) for each in losses.mT.tolist()], gradient

    @torch.enable_grad()
    def _whole(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """3 × N losses and the gradients, from one pass of the network."""
        leaf = images.detach().requires_grad_()
        losses = self._combine(self._sums(0, leaf))
        (gradient,) = torch.autograd.grad(losses[0].sum(), leaf)
        return torch.stack(losses).detach(), gradient.contiguous()

    @torch.enable_grad()
    def _by_tiles(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The same, tile by tile."""
        sums: dict[tuple, Tensor] = {}
        with torch.no_grad():
            for index, tile in enumerate(self._tiles):
                for key, value in self._sums(index, tile.cut(images)).items():
                    sums[key] = sums[key] + value if key in sums else value
        sums = {key: value.requires_grad_() for key, value in sums.items()}
        losses = self._combine(sums)
        shares = torch.autograd.grad(losses[0].sum(), list(sums.values()), allow_unused=True)
        shares = dict(zip(sums, shares, strict=True))
        gradient = torch.zeros_like(images)
        for index, tile in enumerate(self._tiles):
            piece = tile.cut(images).clone(memory_format=torch.contiguous_format).requires_grad_()
            parts = self._sums(index, piece)
            share = sum((parts[key] * weight).sum() for key, weight in shares.items() if weight is not None)
            (own,) = torch.autograd.grad(share, piece)
            tile.cut(gradient).add_(own)
        return torch.stack(losses).detach(), gradient

    def _sums(self, index: int, piece: Tensor) -> dict[tuple, Tensor]:
        """Everything in the losses that is a sum over positions, over those of one tile; N of each."""
        tile = self._tiles[index]
        features = inner_features(self._network, tile, piece, self._layers)
        sums = {}
        for name in self._network.style_layers:
            for number in range(len(self._regions)):
                mask = self._masks[number].get(name)
                if mask is not None and len(self._tiles) > 1:
                    mask = tile.place_features(mask, self._network.geometry.strides[name])
                sums["style", number, name] = gram_sum(features[name], mask)
        wanted = self._wanted(index)
        for name in self._network.content_layers:
            sums["content", name] = squared_distances(features[name], wanted[name])
        for name, maps in self._motifs.items():
            if len(self._tiles) > 1:
                maps = tile.place_features(maps, self._network.geometry.strides[name])
            sums["motif", name] = squared_distances(features[name], maps)
        sums["pixels",] = self._pixel_terms(tile, piece)
        return sums

    def _wanted(self, index: int) -> dict[str, Tensor]:
        if self._content is not None:
            return {name: self._content[index, name] for name in self._network.content_layers}
        tile = self._tiles[index]
        with torch.no_grad():
            return inner_features(self._network, tile, tile.cut(self._photo), self._network.content_layers)

    def _combine(self, sums: dict[tuple, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        content = self._over_layers(
            {name: self._content_loss(name, sums["content", name]) for name in self._network.content_layers}, "content"
        )
        style = self._over_layers({name: self._style_loss(name, sums) for name in self._network.style_layers}, "style")
        total = self._settings.content_weight * content + self._settings.style_weight * style + sums["pixels",]
        if self._motifs:
            losses = {name: self._motif_loss(name, sums["motif", name]) for name in self._motifs}
            weight = self._settings.motif_weight * self._settings.strength  # at strength 0 the photo itself comes back
            total = total + weight * self._over_layers(losses, "content")
        return total, content, style

    def _over_layers(self, losses: dict[str, Tensor], kind: str) -> Tensor:
        weights = getattr(self._settings, f"{kind}_layer_weights")
        values = torch.stack(list(losses.values()))
        if not weights:
            return values.mean(0) if self._settings.loss is LossForm.RELATIVE else values.sum(0)
        if self._settings.loss is LossForm.RELATIVE:
            weights = [weight / sum(weights) for weight in weights]
        return values.mT.mv(constant(tuple(weights), values.dtype, values.device))

    def _content_loss(self, name: str, distance: Tensor) -> Tensor:
        if self._settings.loss is LossForm.RELATIVE:
            return distance / self._energies[name]
        return distance / self._elements[name]

    def _motif_loss(self, name: str, distance: Tensor) -> Tensor:
        relative = self._settings.loss is LossForm.RELATIVE
        return distance / (self._motif_energies[name] if relative else self._elements[name])

    def _style_loss(self, name: str, sums: dict[tuple, Tensor]) -> Tensor:
        """Every region's loss, by the region's share of the image."""
        loss = 0
        for number, region in enumerate(self._regions):
            part = self._parts[number, name]
            distance = squared_distances(sums["style", number, name] / part.divisor, region.grams[name])
            loss = loss + distance / part.scale * part.share
        return loss

    def _region_part(self, number: int, name: str) -> "_Part":
        """What of a region's loss in a layer is the same for all images; read from the device once."""
        target, mask, area = (
            self._regions[number].grams[name],
            self._masks[number].get(name),
            math.prod(self._sizes[name]),
        )
        positions = area if mask is None else max(mask.sum().item(), 1e-6)
        relative = self._settings.loss is LossForm.RELATIVE
        return _Part(
            gram_divisor(self._settings.gram, positions, self._channels[name]),
            energies(target) if relative else target[0].numel(),
            positions / area,
        )

    def _pixel_terms(self, tile: Tile, piece: Tensor) -> Tensor:
        """Range, smoothness and hold of one tile, each divided by what it has in the whole image."""
        settings, inner = self._settings, tile.inner_pixels(piece)
        height, width = tile.rows.length, tile.columns.length
        total = inner.new_zeros(len(inner))
        if settings.range_weight:
            beyond = squared_distances(inner, inner.clamp(0, 1))
            total = total + settings.range_weight * beyond / (3 * height * width)
        if settings.tv_weight:
            total = total + settings.tv_weight * _variation(tile, piece)
        chroma_weight = settings.chroma_weight * settings.strength  # at strength 0 the photo itself comes back
        if chroma_weight:
            total = total + chroma_weight * self._calmness * _variation(tile, chroma(piece))
        if self._hold is not None:
            reference = tile.inner_pixels(tile.cut(self._hold.image))
            weight = tile.inner_pixels(tile.cut(self._hold.weight))
            total = total + (weight * (inner - reference).square()).flatten(1).sum(1) / (3 * height * width)
        return total


def _variation(tile: Tile, piece: Tensor) -> Tensor:
    """Total variation of one tile, its squared differences divided by how many the whole image has."""
    height, width = tile.rows.length, tile.columns.length
    down = squares(tile.inner_pixels(piece, below=1).diff(dim=-2)) / max(1, 3 * (height - 1) * width)
    across = squares(tile.inner_pixels(piece, right=1).diff(dim=-1)) / max(1, 3 * height * (width - 1))
    return down + across
