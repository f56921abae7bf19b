"""Contact sheets: many images on one page, each with a line of text under it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dltool.files import printable

BACKGROUND = (250, 250, 250)
INK = (30, 30, 30)
BAR = (86, 140, 190)


@dataclass(frozen=True)
class Tile:
    """One cell of a sheet: H × W × 3 uint8 pixels of any size, and the text under them."""

    pixels: np.ndarray
    label: str = ""


def contact_sheet(tiles: Sequence[Tile], columns: int, tile_size: int = 224, title: str = "") -> np.ndarray:
    """Lay tiles out row by row, each scaled to fit a square of `tile_size` pixels, and return the page.

    Returns:
        H × W × 3 uint8.
    """
    return arrange_tiles(tiles, columns, tile_size, title)[0]


def arrange_tiles(
    tiles: Sequence[Tile], columns: int, tile_size: int = 224, title: str = ""
) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """A contact sheet, and where each image is on it.

    A row is as high as its highest image. Images smaller than half a tile are enlarged without smoothing, so that
    the pixels of a feature map stay pixels. Labels that are too wide are cut short with an ellipsis.

    Returns:
        The page, H × W × 3 uint8, and for each tile left, top, width and height of its image in pixels.
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
    boxes = []
    for row, height in enumerate(heights):
        for column in range(min(columns, len(tiles) - row * columns)):
            tile, image = tiles[row * columns + column], images[row * columns + column]
            middle = gap + column * (tile_size + gap) + tile_size // 2
            place = middle - image.width // 2, top + (height - image.height) // 2
            page.paste(image, place)
            boxes.append((*place, *image.size))
            if tile.label:
                label = _shorten(tile.label, font, tile_size)
                draw.text((middle, top + height + line // 2), label, INK, font, anchor="mm")
        top += height + line + gap
    return np.asarray(page), boxes


def _fit(image: Image.Image, side: int) -> Image.Image:
    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)


def _shorten(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    text = printable(text)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def stack_pages(pages: Sequence[np.ndarray], vertical: bool = True) -> np.ndarray:
    """Join H × W × 3 uint8 pages under each other, or beside each other, on one page as wide as the widest."""
    axis = 1 if vertical else 0
    breadth = max(page.shape[axis] for page in pages)
    padded = []
    for page in pages:
        shape = list(page.shape)
        shape[axis] = breadth
        padded.append(pad_page(page, (shape[1], shape[0])))
    return np.concatenate(padded, axis=1 - axis)


def pad_page(page: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Put an H × W × 3 uint8 page at the upper left of an empty one of `size` (width, height), which is no smaller."""
    padded = np.full((size[1], size[0], 3), BACKGROUND, np.uint8)
    padded[: page.shape[0], : page.shape[1]] = page
    return padded


def title_page(text: str, width: int, font_size: int = 16) -> np.ndarray:
    """Draw a line of text on a page of `width` pixels; a long one in a smaller font, at last cut with an ellipsis."""
    font = ImageFont.load_default(font_size)
    while font_size > 11 and font.getlength(text) > width - 12:
        font_size -= 1
        font = ImageFont.load_default(font_size)
    page = Image.new("RGB", (width, round(2 * font_size)), BACKGROUND)
    ImageDraw.Draw(page).text((8, page.height // 2), _shorten(text, font, width - 12), INK, font, anchor="lm")
    return np.asarray(page)


def bar_page(rows: Sequence[tuple[str, float]], width: int, font_size: int = 14) -> np.ndarray:
    """Draw names with fractions of 1 as horizontal bars with per cents, one row each, on a page of `width` pixels."""
    font = ImageFont.load_default(font_size)
    line, gap = round(1.6 * font_size), font_size // 2
    page = Image.new("RGB", (width, line * len(rows) + 2 * gap), BACKGROUND)
    draw = ImageDraw.Draw(page)
    names = width // 2 - 2 * gap
    room = width - names - 3 * gap - round(font.getlength("100.0 %")) - gap
    for index, (name, fraction) in enumerate(rows):
        middle = gap + index * line + line // 2
        draw.text((gap, middle), _shorten(name, font, names), INK, font, anchor="lm")
        left = names + 2 * gap
        right = left + max(1, round(room * min(1.0, max(0.0, fraction))))
        draw.rectangle((left, middle - line // 3, right, middle + line // 3), BAR)
        draw.text((right + gap, middle), f"{100 * fraction:.1f} %", INK, font, anchor="lm")
    return np.asarray(page)
