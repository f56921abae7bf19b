"""One sheet that shows what content layers and style : content ratios do to an image."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from dltool.events import mapped
from dltool.images.convert import lay_on_white
from dltool.images.read import DecodedImage
from dltool.images.sheet import Tile, arrange_tiles
from dltool.images.tensors import to_pixels, to_tensor
from dltool.images.transparency import visible_share
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.optimize import StyleTargets, StylizeStep, stylize
from dltool.stylize.settings import StylizeSettings

RATIOS = (0.5, 2.0, 5.0, 20.0, 100.0)


@dataclass(frozen=True)
class GridStep:
    """One evaluation of cell `cell` (from 1) of `cells`."""

    cell: int
    cells: int
    step: StylizeStep


@dataclass(frozen=True)
class GridCell:
    """A cell that is done: number `cell` (from 1) of `cells`, with its losses.

    Attributes:
        box: left, top, width and height of its image on the sheet.
    """

    cell: int
    cells: int
    layer: str
    ratio: float
    content_loss: float
    style_loss: float
    box: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True)
class GridSheet:
    """The finished page, H × W × 3 uint8: a row for each content layer, a column for each ratio."""

    pixels: np.ndarray
    cells: tuple[GridCell, ...]


def stylize_grid(
    photo: DecodedImage,
    style: StyleTargets,
    network: FeatureNetwork,
    ratios: Sequence[float],
    settings: StylizeSettings,
    device: torch.device,
    title: str = "",
    init: DecodedImage | None = None,
) -> Generator[GridStep, None, GridSheet]:
    """Stylize a small image for every content layer of the network and every ratio, and lay them out on one page.

    Args:
        init: the start where `settings.init` names a file; of any size.
        ratios: style weight : content weight; the content weight is the setting's, but where that is 0 it is 1.
    """
    content, opacity = to_tensor(photo.pixels), visible_share(photo.alpha)
    start = None if init is None else to_tensor(init.pixels)
    base = settings.content_weight or 1.0
    layers = network.content_layers
    tiles: list[Tile] = []
    cells: list[GridCell] = []
    for layer, ratio in [(layer, ratio) for layer in layers for ratio in ratios]:
        # The network gives every layer; weights of 0 leave one of them to count.
        cell = replace(
            settings,
            content_layers=layers,
            content_layer_weights=tuple(float(name == layer) for name in layers),
            content_weight=base,
            style_weight=base * ratio,
        )
        place = len(cells) + 1, len(layers) * len(ratios)
        work = stylize(content, style, network, cell, device, init=start, opacity=opacity)
        result = yield from mapped(work, partial(GridStep, *place))
        pixels = to_pixels(result.image)
        shown = pixels if photo.alpha is None else lay_on_white(pixels, photo.alpha)
        tiles.append(Tile(shown, f"{layer}  {ratio:g} : 1"))
        cells.append(GridCell(*place, layer, ratio, result.content_loss, result.style_loss))
    sheet, boxes = arrange_tiles(tiles, len(ratios), max(photo.pixels.shape), title)
    return GridSheet(sheet, tuple(replace(cell, box=box) for cell, box in zip(cells, boxes, strict=True)))
