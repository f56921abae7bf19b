"""One sheet that shows what content layers and style : content ratios do to an image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from dltool.images.read import DecodedImage
from dltool.images.sheet import Tile, contact_sheet
from dltool.images.tensors import to_pixels, to_tensor
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.optimize import StyleTargets, StylizeStep, stylize
from dltool.stylize.settings import StylizeSettings

RATIOS = (0.5, 2.0, 5.0, 20.0, 100.0)


@dataclass(frozen=True)
class GridCell:
    """A cell that is done: number `cell` (from 1) of `cells`, with its losses."""

    cell: int
    cells: int
    layer: str
    ratio: float
    content_loss: float
    style_loss: float


@dataclass(frozen=True)
class GridSheet:
    """The finished page, H × W × 3 uint8: a row for each content layer, a column for each ratio."""

    pixels: np.ndarray


def stylize_grid(
    photo: DecodedImage,
    style: StyleTargets,
    network: FeatureNetwork,
    layers: Sequence[str],
    ratios: Sequence[float],
    settings: StylizeSettings,
    device: torch.device,
    title: str = "",
) -> Iterator[StylizeStep | GridCell | GridSheet]:
    """Stylize a small image for every content layer and ratio, and lay the results out on one page.

    Args:
        network: its content layers hold all of `layers`.
        ratios: style weight : content weight; the content weight is the setting's, but where that is 0 it is 1.
    """
    content = to_tensor(photo.pixels)
    base = settings.content_weight or 1.0
    tiles = []
    for layer in layers:
        for ratio in ratios:
            # The network gives every layer; weights of 0 leave one of them to count.
            weights = tuple(float(name == layer) for name in network.content_layers)
            cell = replace(
                settings,
                content_layers=network.content_layers,
                content_layer_weights=weights,
                content_weight=base,
                style_weight=base * ratio,
            )
            for event in stylize(content, style, network, cell, device):
                if isinstance(event, StylizeStep):
                    yield event
            tiles.append(Tile(to_pixels(event.image), f"{layer}  {ratio:g} : 1"))
            yield GridCell(len(tiles), len(layers) * len(ratios), layer, ratio, event.content_loss, event.style_loss)
    yield GridSheet(contact_sheet(tiles, len(ratios), max(photo.pixels.shape), title))
