"""A large image through a network in overlapping tiles, whose windows sum to one at every pixel."""

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Tiles start at multiples of this, so that a network with strides sees the same grid in a tile as in the whole image.
ALIGNMENT = 16


@dataclass(frozen=True)
class TileDone:
    """So many of an image's tiles are done."""

    done: int
    total: int


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """First pixels of the tiles along a side of `length` pixels, at multiples of ALIGNMENT.

    Every tile has `tile` pixels, but for the last, which ends with the side. Neighbours share at least `overlap`
    pixels, and no pixel lies in three tiles.

    Raises:
        ValueError: `tile` is below twice the overlap and the alignment.
    """
    if tile < 2 * (overlap + ALIGNMENT):
        raise ValueError(f"tiles of {tile} px cannot overlap by {overlap} px")
    step = (tile - overlap) // ALIGNMENT * ALIGNMENT
    count = 1 + max(0, -(-(length - tile) // step))
    return [index * step for index in range(count)]


def tile_windows(length: int, tile: int, overlap: int) -> list[tuple[int, np.ndarray]]:
    """The tiles along a side: first pixel, and a float32 weight for each pixel; weights of a pixel sum to one.

    A tile fades in over the pixels that it shares with the one before and out over those shared with the next, but for
    an eighth of them at either end, where it weighs nothing: what a network makes of pixels whose surroundings it
    does not see is not used.
    """
    starts = tile_starts(length, tile, overlap)
    stops = [min(start + tile, length) for start in starts]
    windows = [np.ones(stop - start, np.float32) for start, stop in zip(starts, stops, strict=True)]
    for index in range(1, len(starts)):
        shared = stops[index - 1] - starts[index]
        unused = shared // 8
        ramp = np.clip((np.arange(shared) + 0.5 - unused) / (shared - 2 * unused), 0, 1).astype(np.float32)
        windows[index][:shared] *= ramp
        windows[index - 1][-shared:] *= 1 - ramp
    return list(zip(starts, windows, strict=True))


def restore_in_tiles(
    pixels: np.ndarray, restore: Callable[[Tensor], Tensor], tile: int, overlap: int
) -> Generator[TileDone, None, np.ndarray]:
    """Restore an image tile by tile; memory beyond the two images is that of one row of tiles.

    Args:
        pixels: H × W × C uint8 or uint16.
        restore: takes and returns 1 × C × h × w float32 in [0, 1] on the CPU; results may reach beyond the range.
        tile: longest side of a tile in pixels.
        overlap: pixels that neighbouring tiles share at least.

    Yields:
        A TileDone after every tile.

    Returns:
        The restored image, of the shape and type of `pixels`.
    """
    height, width, channels = pixels.shape
    white = np.iinfo(pixels.dtype).max
    rows, columns = tile_windows(height, tile, overlap), tile_windows(width, tile, overlap)
    result = np.empty_like(pixels)
    # Sums of the rows from `top` on that tiles have reached; those that the next row of tiles does not touch are done.
    top, sums = 0, np.zeros((0, width, channels), np.float32)
    for row, (start, row_window) in enumerate(rows):
        missing = start + len(row_window) - top - len(sums)
        sums = np.concatenate([sums, np.zeros((missing, width, channels), np.float32)])
        for column, (left, column_window) in enumerate(columns):
            here = slice(start, start + len(row_window)), slice(left, left + len(column_window))
            piece = torch.from_numpy(pixels[here].astype(np.float32) / white).permute(2, 0, 1).unsqueeze(0)
            restored = restore(piece.contiguous()).squeeze(0).permute(1, 2, 0).numpy()
            window = row_window[:, None, None] * column_window[:, None]
            sums[here[0].start - top : here[0].stop - top, here[1]] += window * restored
            yield TileDone(row * len(columns) + column + 1, len(rows) * len(columns))
        end = rows[row + 1][0] if row + 1 < len(rows) else height
        finished = sums[: end - top]
        result[top:end] = np.rint(finished.clip(0, 1, out=finished) * white)
        top, sums = end, sums[end - top :]
    return result
