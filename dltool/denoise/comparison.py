"""Before and after on one page, with a magnified detail of each."""

import numpy as np
from scipy.ndimage import uniform_filter

from dltool.images.sheet import Tile, contact_sheet
from dltool.images.tensors import resize_pixels

_SIDE = 640  # of an image on the page
_MAGNIFIED = 5
_FRAME = (235, 60, 40)
_FRAME_WIDTH = 2


def compare_page(before: np.ndarray, after: np.ndarray, labels: tuple[str, str], title: str = "") -> np.ndarray:
    """Lay H × W × 3 uint8 images before | after side by side, and under each the same detail, magnified.

    The detail is chosen by `find_detail` and framed in the upper images. `labels` go under those.
    """
    height, width = before.shape[:2]
    side = min(_SIDE // _MAGNIFIED, height, width)
    top, left = find_detail(after, side)
    here = slice(top, top + side), slice(left, left + side)
    times = _SIDE // side
    tiles = [Tile(_framed(image, top, left, side), label) for image, label in zip((before, after), labels, strict=True)]
    for image, name in ((before, "before"), (after, "after")):
        magnified = np.kron(image[here], np.ones((times, times, 1), np.uint8))
        tiles.append(Tile(magnified, f"{name}, framed detail, {times}:1"))
    return contact_sheet(tiles, columns=2, tile_size=_SIDE, title=title)


def find_detail(image: np.ndarray, side: int) -> tuple[int, int]:
    """Upper row and left column of the most telling square of `side` pixels in H × W × 3 uint8 pixels.

    Half of it weighs structure, which a denoiser might smear, half evenness, where noise shows: the square in which
    the strength of edges varies most.
    """
    grey = image.astype(np.float32).mean(2)
    vertical, horizontal = np.gradient(grey) if min(grey.shape) > 1 else (np.zeros_like(grey),) * 2
    edges = np.minimum(np.hypot(vertical, horizontal), 40)
    spread = uniform_filter(edges**2, side) - uniform_filter(edges, side) ** 2
    seen = uniform_filter(((grey > 20) & (grey < 235)).astype(np.float32), side)
    rows, columns = (length - side + 1 for length in grey.shape)
    score = (spread * seen)[side // 2 :, side // 2 :][:rows, :columns]
    top, left = np.unravel_index(int(score.argmax()), score.shape)
    return int(top), int(left)


def _framed(image: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """The image as large as it appears on the page, with a frame around the detail if it leaves something to see."""
    height, width = image.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    shown = resize_pixels(image, (max(1, round(width * scale)), max(1, round(height * scale)))).copy()
    first, last = np.rint(np.array([(top, left), (top + side, left + side)]) * scale).astype(int)
    inside = shown[first[0] : last[0] + 1, first[1] : last[1] + 1]
    if min(inside.shape[:2]) > 4 * _FRAME_WIDTH:
        for edge in (slice(_FRAME_WIDTH), slice(-_FRAME_WIDTH, None)):
            inside[edge] = _FRAME
            inside[:, edge] = _FRAME
    return shown
