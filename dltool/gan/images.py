"""Generated images as pages: grids, the film of a training."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from dltool.images.read import open_image
from dltool.images.write import write_gif

_TILE = 64
_GAP = 2
_MOST_COLUMNS = 16
_FRAMES = 60
_FILM_SECONDS = 8.0
_LAST_FRAMES = 8


def class_columns(num_classes: int) -> int | None:
    """Columns of a grid whose images are of all classes in turn, one for each; None where that would be too wide."""
    return num_classes if 2 <= num_classes <= _MOST_COLUMNS else None


def grid_page(images: Tensor, columns: int | None = None, scale: int | None = None, gap: int = _GAP) -> np.ndarray:
    """Lay N × C × S × S uint8 images out row by row, small ones enlarged by a whole factor: pixels stay pixels.

    Args:
        columns: images in a row; None makes the grid about square.
        scale: the factor; None makes images about 64 pixels wide.
        gap: white pixels around each image.

    Returns:
        H × W × 3 uint8.
    """
    count, size = len(images), images.shape[-1]
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    scale = scale or max(1, round(_TILE / size))
    rows = -(-count // columns)
    step = size * scale + gap
    page = np.full((rows * step + gap, columns * step + gap, 3), 255, np.uint8)
    for index, pixels in enumerate(images.permute(0, 2, 3, 1).numpy()):
        top, left = gap + index // columns * step, gap + index % columns * step
        enlarged = pixels.repeat(scale, 0).repeat(scale, 1)
        page[top : top + size * scale, left : left + size * scale] = enlarged
    return page


def write_film(path: Path, grids: Sequence[Path]) -> None:
    """Join grids of equal size, at most 60 of them, evenly chosen, to a GIF of about eight seconds.

    The last one stays a while.
    """
    chosen = np.unique(np.linspace(0, len(grids) - 1, min(len(grids), _FRAMES)).round().astype(int))
    frames = []
    for index in chosen:
        with open_image(grids[index]) as image:
            frames.append(np.asarray(image.convert("RGB")))
    frames += [frames[-1]] * _LAST_FRAMES
    write_gif(path, frames, max(0.1, _FILM_SECONDS / len(frames)))
