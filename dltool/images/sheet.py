"""Contact sheets: many images on one page, each with a line of text under it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dltool.files import printable
from dltool.images.colormap import ColorScale, colorize

BACKGROUND = (250, 250, 250)
INK = (30, 30, 30)
BAR = (86, 140, 190)
_MOST_LINES = 3


@dataclass(frozen=True)
class Tile:
    """One cell of a sheet: H × W × 3 uint8 pixels of any size, the text under them, and what their colours mean."""

    pixels: np.ndarray
    label: str = ""
    scale: ColorScale | None = None


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
    the pixels of a feature map stay pixels. Labels that are too wide go on in up to three lines.

    Returns:
        The page, H × W × 3 uint8, and for each tile left, top, width and height of its image in pixels.
    """
    font = ImageFont.load_default(max(11, tile_size // 16))
    line = round(1.7 * font.size)
    gap = max(4, tile_size // 28)
    columns = min(columns, len(tiles))
    images = [_fit(Image.fromarray(tile.pixels), tile_size) for tile in tiles]
    labels = [_wrap(tile.label, font, tile_size, _MOST_LINES) for tile in tiles]
    rows = [range(start, min(start + columns, len(tiles))) for start in range(0, len(tiles), columns)]
    heights = [max(images[index].height for index in row) for row in rows]
    bars = [line * any(tiles[index].scale is not None for index in row) for row in rows]
    texts = [line * max(len(labels[index]) for index in row) for row in rows]
    heading = _wrap(title, font, columns * (tile_size + gap) - gap, _MOST_LINES)
    head = round((0.5 + 1.7 * len(heading)) * font.size) if title else 0
    page_height = head + gap + sum(heights) + sum(bars) + sum(texts) + gap * len(rows)
    page = Image.new("RGB", (columns * (tile_size + gap) + gap, page_height), BACKGROUND)
    draw = ImageDraw.Draw(page)
    for number, text in enumerate(heading):
        draw.text((gap, gap + head // 2 + line * (2 * number + 1 - len(heading)) // 2), text, INK, font, anchor="lm")
    top = gap + head
    boxes = []
    for row, height, bar, text in zip(rows, heights, bars, texts, strict=True):
        for column, index in enumerate(row):
            tile, image = tiles[index], images[index]
            left = gap + column * (tile_size + gap)
            place = left + tile_size // 2 - image.width // 2, top + (height - image.height) // 2
            page.paste(image, place)
            boxes.append((*place, *image.size))
            if tile.scale is not None:
                strip = Image.fromarray(scale_bar(tile.scale, tile_size - gap, font.size))
                page.paste(strip, (left + gap // 2, top + height))
            for number, words in enumerate(labels[index]):
                middle = left + tile_size // 2, top + height + bar + line * number + line // 2
                draw.text(middle, words, INK, font, anchor="mm")
        top += height + bar + text + gap
    return np.asarray(page), boxes


def scale_bar(scale: ColorScale, width: int, font_size: int = 11) -> np.ndarray:
    """Draw a strip of the scale's colours between the numbers that its ends stand for, 1.7 times the font high."""
    font = ImageFont.load_default(font_size)
    page = Image.new("RGB", (width, round(1.7 * font_size)), BACKGROUND)
    draw = ImageDraw.Draw(page)
    digits = 3 if width > 10 * font_size else 2
    low, high = f"{scale.low:.{digits}g}", f"{scale.high:.{digits}g}"
    left, right = (round(font.getlength(text)) + font_size // 2 for text in (low, high))
    draw.text((0, page.height // 2), low, INK, font, anchor="lm")
    draw.text((width, page.height // 2), high, INK, font, anchor="rm")
    room = max(1, width - left - right)
    steps = np.linspace(0, 1 if scale.high > scale.low else 0, room)
    strip = np.broadcast_to(colorize(steps[None], scale.colormap), (max(3, round(0.7 * font_size)), room, 3))
    page.paste(Image.fromarray(np.ascontiguousarray(strip)), (left, (page.height - strip.shape[0]) // 2))
    return np.asarray(page)


def _fit(image: Image.Image, side: int) -> Image.Image:
    scale = side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int, most: int) -> list[str]:
    """Break a text into lines of at most `width` pixels, between words where it can; the last of `most` is cut."""
    lines, rest = [], printable(text).strip()
    while rest and len(lines) < most - 1 and font.getlength(rest) > width:
        end = len(rest)
        while end > 1 and font.getlength(rest[:end]) > width:
            end -= 1
        end = rest.rfind(" ", 1, end + 1) if " " in rest[1 : end + 1] else end
        lines.append(rest[:end].rstrip())
        rest = rest[end:].lstrip()
    return [*lines, _shorten(rest, font, width)] if rest else lines


def _shorten(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
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


def cut_pages(head: np.ndarray, blocks: Sequence[np.ndarray], highest: int) -> list[np.ndarray]:
    """Stack blocks under a head, on as many pages as keep each at most `highest` pixels high where one block fits."""
    pages: list[list[np.ndarray]] = []
    room = -1
    for block in blocks:
        room -= len(block)
        if room < 0:
            pages.append([head])
            room = highest - len(head) - len(block)
        pages[-1].append(block)
    return [stack_pages(page) for page in pages]


def title_page(text: str, width: int, font_size: int = 16) -> np.ndarray:
    """Draw a text on a page of `width` pixels; a long one in a smaller font, then in several lines."""
    font = ImageFont.load_default(font_size)
    while font_size > 11 and font.getlength(text) > width - 12:
        font_size -= 1
        font = ImageFont.load_default(font_size)
    lines = _wrap(text, font, width - 16, 2 * _MOST_LINES)
    page = Image.new("RGB", (width, round(1.4 * font_size * max(1, len(lines)) + 0.6 * font_size)), BACKGROUND)
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        draw.text((8, round((1 + 1.4 * number) * font_size)), line, INK, font, anchor="lm")
    return np.asarray(page)


def names_page(names: Sequence[str], row_height: int, top: int = 0, font_size: int = 14) -> np.ndarray:
    """Draw names under each other, one at the middle of each row, on a page as wide as the longest, white as a grid.

    Long names are cut with an ellipsis; rows lower than a line of text get a smaller font.
    """
    font = ImageFont.load_default(max(7, min(font_size, row_height - 2)))
    longest = max(round(font.getlength(printable(name))) for name in names)
    page = Image.new("RGB", (min(longest, 12 * font_size) + 12, len(names) * row_height + top), "white")
    draw = ImageDraw.Draw(page)
    for index, name in enumerate(names):
        place = page.width - 6, top + index * row_height + (row_height - top) // 2
        draw.text(place, _shorten(name, font, page.width - 12), INK, font, anchor="rm")
    return np.asarray(page)


def bar_page(rows: Sequence[tuple[str, float]], width: int, font_size: int = 14) -> np.ndarray:
    """Draw names with fractions of 1 as horizontal bars with per cents, one row each.

    The page is `width` pixels wide, and wider where a name needs more than half of that.
    """
    font = ImageFont.load_default(font_size)
    line, gap = round(1.6 * font_size), font_size // 2
    names = max(width // 2 - 2 * gap, *(min(2000, round(font.getlength(printable(name)))) for name, _ in rows))
    width = max(width, 2 * names)
    page = Image.new("RGB", (width, line * len(rows) + 2 * gap), BACKGROUND)
    draw = ImageDraw.Draw(page)
    room = width - names - 3 * gap - round(font.getlength("100.0 %")) - gap
    for index, (name, fraction) in enumerate(rows):
        middle = gap + index * line + line // 2
        draw.text((gap, middle), _shorten(printable(name), font, names), INK, font, anchor="lm")
        left = names + 2 * gap
        right = left + max(1, round(room * min(1.0, max(0.0, fraction))))
        draw.rectangle((left, middle - line // 3, right, middle + line // 3), BAR)
        draw.text((right + gap, middle), f"{100 * fraction:.1f} %", INK, font, anchor="lm")
    return np.asarray(page)
