"""Feature maps as pages: a sheet for one layer, one over all depths, the frames of an animation."""

from collections.abc import Sequence
from math import ceil, isqrt, sqrt

import numpy as np

from dltool.errors import SettingsError
from dltool.featmap.activations import FeatureMap, strength, without_rounding
from dltool.featmap.layers import Kind
from dltool.featmap.settings import Channels, MapSettings, Scale
from dltool.images.colormap import ColorScale
from dltool.images.sheet import Tile, bar_page, contact_sheet, cut_pages, pad_page, stack_pages, title_page

_OVERVIEW_COLUMNS = 8
_GIF_CHANNELS = 16
_MOST_COLUMNS = 16
_HIGHEST = 2400


def choose_channels(feature: FeatureMap, channels: Channels) -> list[int]:
    """Channel numbers in the order in which they are drawn: the strongest first, or as the user listed them.

    Raises:
        SettingsError: a channel that the layer does not have.
    """
    total = len(feature.values)
    for index in channels.indices:
        if index >= total:
            raise SettingsError(f"--channels {index}: layer {feature.layer} has channels 0 to {total - 1}")
    if channels.indices:
        return list(channels.indices)
    flat = without_rounding(feature.values)[1]
    ranked = np.lexsort((-strength(feature.values), flat))  # what is the same everywhere comes last
    return [int(index) for index in ranked[: channels.count]]


def layer_sheets(feature: FeatureMap, image: np.ndarray, source: str, settings: MapSettings) -> list[np.ndarray]:
    """Draw the chosen channels of one layer in a square of tiles, with the network's view of the image beside.

    Args:
        image: H × W × 3 uint8.
        source: image and network, for the title.

    Returns:
        Pages of H × W × 3 uint8; several where there are more channels than one page takes.
    """
    if feature.kind is Kind.VECTOR:
        tiles, columns, drawn = [vector_tile(feature, settings.colormap)], 1, len(feature.values)
    else:
        chosen = choose_channels(feature, settings.channels)
        tiles, drawn = channel_tiles(feature, chosen, settings), len(chosen)
        columns = min(_MOST_COLUMNS, ceil(sqrt(drawn)))
    tile_size = 320 if columns == 1 else 160 if columns <= 6 else 112
    rows = [
        contact_sheet(tiles[start : start + columns], columns, tile_size) for start in range(0, len(tiles), columns)
    ]
    beside = contact_sheet([Tile(image, "the image")], 1, 224)
    title = f"{source} · {describe(feature)}{_extent(feature, drawn, settings)}"
    grids = cut_pages(np.empty((0, rows[0].shape[1], 3), np.uint8), rows, _HIGHEST)
    parts = [f", page {number} of {len(grids)}" if len(grids) > 1 else "" for number in range(1, len(grids) + 1)]
    return [
        _titled(stack_pages([beside, grid], vertical=False), title + part)
        for grid, part in zip(grids, parts, strict=True)
    ]


def overview_sheets(
    features: Sequence[FeatureMap],
    image: np.ndarray,
    source: str,
    top: Sequence[tuple[str, float]],
    settings: MapSettings,
) -> list[np.ndarray]:
    """Draw one row per layer: its mean map, then its strongest channels, from first to last.

    Args:
        image: H × W × 3 uint8.
        source: image and network, for the title.
        top: names and probabilities of the network's best classes, drawn beside the image; may be empty.

    Returns:
        Pages of H × W × 3 uint8; several where there are more layers than one page takes.
    """
    head = contact_sheet([Tile(image)], 1, 288)
    if top:
        answer = [title_page("the network's answer", 480, 14), bar_page(top, 480)]
        head = stack_pages([head, stack_pages(answer)], vertical=False)
    rows = [_overview_row(feature, settings) for feature in features]
    title = title_page(source, max(row.shape[1] for row in rows))
    return cut_pages(stack_pages([title, head]), rows, _HIGHEST)


def depth_frames(
    features: Sequence[FeatureMap], image: np.ndarray, source: str, settings: MapSettings
) -> list[np.ndarray]:
    """One page per layer with maps, all of one size, for an animation through the depth; empty without maps.

    Returns:
        A list of H × W × 3 uint8.
    """
    frames = []
    for feature in features:
        if feature.kind is not Kind.VECTOR:
            chosen = choose_channels(feature, Channels(_GIF_CHANNELS))
            grid = contact_sheet(channel_tiles(feature, chosen, settings), 4, 112)
            photo = contact_sheet([Tile(image, source)], 1, 224)
            frames.append(_titled(stack_pages([photo, grid], vertical=False), describe(feature)))
    if not frames:
        return []
    size = max(frame.shape[1] for frame in frames), max(frame.shape[0] for frame in frames)
    return [pad_page(frame, size) for frame in frames]


def channel_tiles(feature: FeatureMap, channels: Sequence[int], settings: MapSettings) -> list[Tile]:
    """Colour the channels, all over the layer's range or each over its own, with the scale and their numbers below."""
    values, flat = without_rounding(feature.values)
    shared = ColorScale(float(values.min()), float(values.max()), settings.colormap)
    tiles = []
    for index in channels:
        own = values[index]
        low, high = float(own.min()), float(own.max())
        scale = shared if settings.scale is Scale.SHARED else ColorScale(low, high, settings.colormap)
        name = f"head {index}" if feature.kind is Kind.ATTENTION else f"{index}"
        remark = ", the same everywhere" if flat[index] else ", all negative" if high < 0 else ""
        tiles.append(Tile(scale.colorize(own), name + remark, scale))
    return tiles


def vector_tile(feature: FeatureMap, colormap: str) -> Tile:
    """A vector's numbers in reading order on a square grid of cells; cells beyond the last are white."""
    numbers = feature.values[:, 0, 0]
    columns = isqrt(max(0, len(numbers) - 1)) + 1
    rows = ceil(len(numbers) / columns)
    scale = ColorScale(float(numbers.min()), float(numbers.max()), colormap)
    cells = np.full((rows * columns, 3), 255, np.uint8)
    cells[: len(numbers)] = scale.colorize(numbers[None])[0]
    return Tile(cells.reshape(rows, columns, 3), f"{len(numbers)} numbers, row by row", scale)


def describe(feature: FeatureMap) -> str:
    """A layer's name and what its output is, such as `layer2: 128 channels of 28 x 28`."""
    count, height, width = feature.values.shape
    if feature.kind is Kind.VECTOR:
        return f"{feature.layer}: {count} numbers"
    what = {Kind.ATTENTION: "heads over", Kind.TOKENS: "features of tokens on"}.get(feature.kind, "channels of")
    return f"{feature.layer}: {count} {what} {height} x {width}"


def _overview_row(feature: FeatureMap, settings: MapSettings) -> np.ndarray:
    title = describe(feature)
    if feature.kind is Kind.VECTOR:
        return stack_pages(
            [title_page(title, 480, 14), contact_sheet([vector_tile(feature, settings.colormap)], 1, 160)]
        )
    chosen = choose_channels(feature, settings.channels)[:_OVERVIEW_COLUMNS]
    mean = np.abs(feature.values).mean(0)
    scale = ColorScale(float(mean.min()), float(mean.max()), settings.colormap)
    first = Tile(scale.colorize(mean), "mean |x|", scale)
    return contact_sheet([first, *channel_tiles(feature, chosen, settings)], _OVERVIEW_COLUMNS + 1, 128, title)


def _extent(feature: FeatureMap, drawn: int, settings: MapSettings) -> str:
    if feature.kind is Kind.VECTOR:
        return ""
    which = "" if settings.channels.indices or drawn == len(feature.values) else f", the {drawn} strongest"
    return which


def _titled(page: np.ndarray, title: str) -> np.ndarray:
    """Put a line above a page, in a font that fits the line to the page where it can."""
    return stack_pages([title_page(title, page.shape[1]), page])
