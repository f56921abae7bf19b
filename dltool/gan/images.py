"""Generated images as pages: grids, the film of a training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dltool.images.read import open_image
from dltool.images.sheet import names_page, stack_pages
from dltool.images.write import write_gif

_TILE = 64
_GAP = 2
_MOST_ROWS = 16
_FRAMES = 60
_FILM_SECONDS = 8.0
_LAST_FRAMES = 8


def fill_rows(count: int, num_classes: int) -> int:
    """At least `count` images, of each class as many where the classes have rows of their own."""
    return -(-count // num_classes) * num_classes if 2 <= num_classes <= _MOST_ROWS else count


def grid_page(
    images: Tensor,
    columns: int | None = None,
    scale: int | None = None,
    gap: int = _GAP,
    labels: Tensor | None = None,
    names: Sequence[str] = (),
) -> np.ndarray:
    """Lay N × C × H × W uint8 images out row by row, small ones enlarged by a whole factor: pixels stay pixels.

    Args:
        columns: images in a row; None makes the page about square.
        scale: the factor; None makes images about 64 pixels large.
        gap: white pixels around each image.
        labels: N classes, at most 16 of which begin rows of their own, with their names before them.

    Returns:
        H × W × 3 uint8.
    """
    height, width = images.shape[-2:]
    scale = scale or max(1, round(_TILE / max(height, width)))
    height, width = height * scale + gap, width * scale + gap
    kinds = [] if labels is None else labels.unique().tolist()
    groups = [torch.arange(len(images)).tolist()]
    if labels is not None and len(kinds) <= _MOST_ROWS:
        groups = [(labels == kind).nonzero()[:, 0].tolist() for kind in kinds]
    longest = max(map(len, groups))
    columns = min(columns or _square_columns([len(group) for group in groups], height / width), longest)
    rows = [group[start : start + columns] for group in groups for start in range(0, len(group), columns)]
    page = np.full((len(rows) * height + gap, columns * width + gap, 3), 255, np.uint8)
    pixels = images.permute(0, 2, 3, 1).numpy().repeat(scale, 1).repeat(scale, 2)
    for top, row in zip(range(gap, page.shape[0], height), rows, strict=False):
        for left, index in zip(range(gap, page.shape[1], width), row, strict=False):
            page[top : top + height - gap, left : left + width - gap] = pixels[index]
    if len(groups) == 1 or not names:
        return page
    firsts = {group[0]: names[kind] for group, kind in zip(groups, kinds, strict=True)}
    return stack_pages([names_page([firsts.get(row[0], "") for row in rows], height, gap), page], vertical=False)


def _square_columns(counts: Sequence[int], proportion: float) -> int:
    """The fewest columns with which groups of so many images, each in rows of its own, are no higher than wide.

    `proportion` is that of an image's height to its width.
    """
    fitting = (c for c in range(1, max(counts)) if c >= proportion * sum(-(-count // c) for count in counts))
    return next(fitting, max(counts))


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
