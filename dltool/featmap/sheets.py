"""Feature maps as pages: a sheet for one layer, one over all depths, the frames of an animation."""

from collections.abc import Sequence
from math import ceil, isqrt, sqrt

import numpy as np

from dltool.errors import SettingsError
from dltool.featmap.activations import FeatureMap, strength
from dltool.featmap.layers import Kind
from dltool.featmap.settings import Channels, MapSettings, Scale
from dltool.images.colormap import colorize, rescale
from dltool.images.sheet import Tile, bar_page, contact_sheet, pad_page, stack_pages, title_page

_OVERVIEW_COLUMNS = 8
_GIF_CHANNELS = 16


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
    ranked = np.argsort(-strength(feature.values), kind="stable")
    return [int(index) for index in ranked[: channels.count]]


def layer_sheet(feature: FeatureMap, image: np.ndarray, source: str, settings: MapSettings) -> np.ndarray:
    """Draw the chosen channels of one layer in a square of tiles, with the network's view of the image beside.

    Args:
        image: size × size × 3 uint8.
        source: image and network, for the title.

    Returns:
        H × W × 3 uint8.
    """
    if feature.kind is Kind.VECTOR:
        tiles, columns, drawn = [vector_tile(feature, settings.colormap)], 1, len(feature.values)
    else:
        chosen = choose_channels(feature, settings.channels)
        tiles, columns, drawn = channel_tiles(feature, chosen, settings), ceil(sqrt(len(chosen))), len(chosen)
    tile_size = 160 if columns <= 6 else 112 if columns <= 12 else 72
    grid = contact_sheet(tiles, columns, tile_size)
    beside = contact_sheet([Tile(image, "what the network sees")], 1, 224)
    title = f"{source} · {describe(feature)}{_extent(feature, drawn, settings)}"
    return _titled(stack_pages([beside, grid], vertical=False), title)


def overview_sheet(
    features: Sequence[FeatureMap],
    image: np.ndarray,
    source: str,
    top: Sequence[tuple[str, float]],
    settings: MapSettings,
) -> np.ndarray:
    """Draw one row per layer: its mean map, then its strongest channels, from first to last.

    Args:
        image: size × size × 3 uint8.
        source: image and network, for the title.
        top: names and probabilities of the network's best classes, drawn beside the image; may be empty.

    Returns:
        H × W × 3 uint8.
    """
    head = contact_sheet([Tile(image)], 1, 224)
    if top:
        answer = [title_page("the network's answer", 480, 14), bar_page(top, 480)]
        head = stack_pages([head, stack_pages(answer)], vertical=False)
    rows = [_overview_row(feature, settings) for feature in features]
    return stack_pages([title_page(source, max(row.shape[1] for row in rows)), head, *rows])


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
    """Colour the channels, each over its own range or all over the layer's, with their numbers below."""
    low, high = float(feature.values.min()), float(feature.values.max())
    tiles = []
    for index in channels:
        values = feature.values[index]
        if settings.scale is Scale.MAP:
            low, high = float(values.min()), float(values.max())
        colors = colorize(rescale(values, low, high), settings.colormap)
        tiles.append(Tile(colors, f"head {index}" if feature.kind is Kind.ATTENTION else f"{index}"))
    return tiles


def vector_tile(feature: FeatureMap, colormap: str) -> Tile:
    """A vector's numbers in reading order on a square grid of cells; cells beyond the last are white."""
    numbers = feature.values[:, 0, 0]
    columns = isqrt(max(0, len(numbers) - 1)) + 1
    rows = ceil(len(numbers) / columns)
    colors = colorize(rescale(numbers, float(numbers.min()), float(numbers.max()))[None], colormap)[0]
    cells = np.full((rows * columns, 3), 255, np.uint8)
    cells[: len(numbers)] = colors
    return Tile(cells.reshape(rows, columns, 3), f"{len(numbers)} numbers, row by row")


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
        return contact_sheet([vector_tile(feature, settings.colormap)], 1, 112, title)
    chosen = choose_channels(feature, settings.channels)[:_OVERVIEW_COLUMNS]
    mean = np.abs(feature.values).mean(0)
    first = Tile(colorize(rescale(mean, float(mean.min()), float(mean.max())), settings.colormap), "mean |x|")
    return contact_sheet([first, *channel_tiles(feature, chosen, settings)], _OVERVIEW_COLUMNS + 1, 112, title)


def _extent(feature: FeatureMap, drawn: int, settings: MapSettings) -> str:
    if feature.kind is Kind.VECTOR:
        return ""
    which = "" if settings.channels.indices or drawn == len(feature.values) else f", the {drawn} strongest"
    if settings.scale is Scale.LAYER:
        return f"{which}, {feature.values.min():.2g} to {feature.values.max():.2g}"
    return which


def _titled(page: np.ndarray, title: str) -> np.ndarray:
    """Put a line above a page, in a font that fits the line to the page where it can."""
    return stack_pages([title_page(title, page.shape[1]), page])
