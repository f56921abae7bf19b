"""A large image through a network in overlapping tiles, whose windows sum to one at every pixel."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np
import torch
from torch import Tensor

from dltool.device import fetch_behind, is_out_of_memory, pinned

# Tiles start at multiples of this, so that a network with strides sees the same grid in a tile as in the whole image.
ALIGNMENT = 16
_TOGETHER = 8  # tiles, on a GPU
_CPU = torch.device("cpu")


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
    pixels: np.ndarray,
    restore: Callable[[Tensor], Tensor],
    tile: int,
    overlap: int,
    device: torch.device = _CPU,
) -> Generator[TileDone, None, np.ndarray]:
    """Restore an image tile by tile; memory beyond the two images is that of one row of tiles.

    On a GPU tiles of a row go together, half as many as often as memory runs out, and while the card works on some, the
    last ones are put in their places.

    Args:
        pixels: H × W × C uint8 or uint16.
        restore: takes and returns N × C × h × w float32 in [0, 1] on the device; results may reach beyond the range.
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
    workshop, done = _Workshop(restore, device), 0
    # Sums of the rows from `top` on that tiles have reached; those that the next row of tiles does not touch are done.
    top, sums = 0, np.zeros((0, width, channels), np.float32)
    for row, (start, row_window) in enumerate(rows):
        missing = start + len(row_window) - top - len(sums)
        sums = np.concatenate([sums, np.zeros((missing, width, channels), np.float32)])
        pieces = (
            pixels[start : start + len(row_window), left : left + len(window)].astype(np.float32) / white
            for left, window in columns
        )
        for (left, window), restored in zip(columns, workshop.restored(pieces, len(columns)), strict=True):
            here = slice(start - top, start - top + len(row_window)), slice(left, left + len(window))
            sums[here] += row_window[:, None, None] * window[:, None] * restored
            done += 1
            yield TileDone(done, len(rows) * len(columns))
        end = rows[row + 1][0] if row + 1 < len(rows) else height
        finished = sums[: end - top]
        result[top:end] = np.rint(finished.clip(0, 1, out=finished) * white)
        top, sums = end, sums[end - top :]
    return result


class _Workshop:
    """Where tiles are restored: one by one on the CPU, several at once on a GPU, which is never waited for idly."""

    def __init__(self, restore: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self._restore = restore
        self._device = device
        self._together = 1 if device.type == "cpu" else _TOGETHER

    def restored(self, pieces: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
        """Yield each h × w × C piece restored, in order."""
        waiting = iter(pieces)
        under_way: deque[Callable[[], Tensor]] = deque()
        while count or under_way:
            if count:
                group = list(islice(waiting, min(self._together, count)))
                count -= len(group)
                for part in _of_one_shape(group):
                    under_way += self._started(part)
            # On the CPU they are done when they are started; beside a GPU the last ones are left to it for now.
            while under_way and (self._device.type == "cpu" or not count or len(under_way) > 1):
                for restored in under_way.popleft()():
                    yield restored.permute(1, 2, 0).numpy()

    def _started(self, group: list[np.ndarray]) -> list[Callable[[], Tensor]]:
        """Have pieces restored; by halves, and all later ones so, where the memory does not hold all at once."""
        batch = np.stack(group).transpose(0, 3, 1, 2)
        try:
            given = pinned(np.ascontiguousarray(batch), self._device).to(self._device, non_blocking=True)
            return [fetch_behind(self._restore(given))]
        except (RuntimeError, MemoryError) as error:
            if len(group) == 1 or not is_out_of_memory(error):
                raise
        half = self._together = len(group) // 2
        return [*self._started(group[:half]), *self._started(group[half:])]


def _of_one_shape(group: list[np.ndarray]) -> list[list[np.ndarray]]:
    """The pieces in order, divided where their shape changes: the last of a row may be narrower."""
    return [list(same) for _, same in groupby(group, key=lambda piece: piece.shape)]
