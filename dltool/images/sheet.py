"""Contact sheets: many pictures on one page, each with a line of text under it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

BACKGROUND = (250, 250, 250)
INK = (30, 30, 30)


@dataclass(frozen=True)
class Tile:
    """One cell of a sheet: H × W × 3 uint8 pixels of any size, and the text under them."""

    pixels: np.ndarray
    label: str = ""


def contact_sheet(tiles: Sequence[Tile], columns: int, tile_size: int = 224, title: str = "") -> np.ndarray:
    """Lay tiles out row by row, each scaled to fit a square of `tile_size` pixels, and return the page.

    A row is as high as its highest picture. Pictures smaller than half a tile are enlarged without smoothing, so that
    the pixels of a feature map stay pixels. Labels that are too wide are cut short with an ellipsis.

    Returns:
        H × W × 3 uint8.
    """
    font = ImageFont.load_default(max(11, tile_size // 16))
    line = round(1.7 * font.size) if any(tile.label for tile in tiles) else 0
    gap = max(4, tile_size // 28)
    columns = min(columns, len(tiles))
    images = [_fit(Image.fromarray(tile.pixels), tile_size) for tile in tiles]
    heights = [
        max(image.height for image in images[start : start + columns]) for start in range(0, len(tiles), columns)
    ]
    head = round(2.2 * font.size) if title else 0
    page_height = head + gap + sum(height + line + gap for height in heights)
    page = Image.new("RGB", (columns * (tile_size + gap) + gap, page_height), BACKGROUND)
    draw = ImageDraw.Draw(page)
    if title:
        draw.text((gap, gap + head // 2), _shorten(title, font, page.width - 2 * gap), INK, font, anchor="lm")
    top = gap + head
    for row, height in enumerate(heights):
        for column in range(min(columns, len(tiles) - row * columns)):
            tile, image = tiles[row * columns + column], images[row * columns + column]
            middle = gap + column * (tile_size + gap) + tile_size // 2
            page.paste(image, (middle - image.width // 2, top + (height - image.height) // 2))
            if tile.label:
                label = _shorten(tile.label, font, tile_size)
                draw.text((middle, top + height + line // 2), label, INK, font, anchor="mm")
        top += height + line + gap
    return np.asarray(page)


def _fit(image: Image.Image, side: int) -> Image.Image:
    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)


def _shorten(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
