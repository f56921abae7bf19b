"""The pointing game: does a map's highest point lie on the object (Zhang et al., "Excitation Backprop", ECCV 2016)?"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dltool.errors import DataError
from dltool.featmap.network import Network
from dltool.featmap.settings import Fit
from dltool.featmap.view import look_at
from dltool.images.folder import find_images
from dltool.images.read import read_image

# 15 pixels of a photo of 500, as in the paper.
_TOLERANCE = 0.03
# A lossy file's black is not quite 0; the colours of label images have a channel of at least 64.
_DARKEST_COLOR = 32


def find_masks(folder: Path, images: Sequence[Path]) -> dict[Path, Path]:
    """The mask of each image that has one: the file of its name, whatever the suffix, in `folder` or a folder below
    it that is called like the image's own.

    Raises:
        DataError: there is no such folder, or no image has a mask.
    """
    if not folder.is_dir():
        raise DataError(f"--masks {folder}: no such folder")
    files = {(path.parent.name, path.stem): path for path in find_images(folder)}
    flat = {path.stem: path for path in files.values() if path.parent == folder}
    found = {image: files.get((image.absolute().parent.name, image.stem)) or flat.get(image.stem) for image in images}
    masks = {image: path for image, path in found.items() if path is not None}
    if not masks:
        name = images[0]
        raise DataError(f"--masks {folder}: no image has a mask; that of {name.name} is called {name.stem}.png")
    return masks


def read_object(network: Network, fit: Fit, path: Path, size: tuple[int, int]) -> np.ndarray:
    """Read where the object is, on what the network sees of the image: H × W of bool, anything but black.

    Args:
        size: height and width of that, to check that the mask has the image's shape.

    Raises:
        DataError: it cannot be read, is black, or of another shape.
    """
    colors = read_image(path).pixels.max(2)
    marked = colors >= (_DARKEST_COLOR if colors.max() >= _DARKEST_COLOR else 1)
    view = look_at(network, np.repeat(np.uint8(255) * marked[..., None], 3, axis=2), fit)
    if view.size != size:
        raise DataError(f"{path}: a mask of {colors.shape[1]} x {colors.shape[0]} pixels, not of its image's shape")
    shown = view.merge(view.seen.transpose(0, 3, 1, 2).astype(np.float32))[0] > 127
    if not shown.any():
        raise DataError(f"{path}: a mask without an object; what is not black is the object")
    return shown


def points_at(values: np.ndarray, where: np.ndarray) -> bool:
    """Whether the highest point of an H × W map lies on the object, or at most 3 % of the longer side from it."""
    top, left = np.unravel_index(values.argmax(), values.shape)
    rows, columns = np.nonzero(where)
    nearest = np.hypot(rows - top, columns - left).min()
    return bool(nearest <= _TOLERANCE * max(values.shape))


def pointing_accuracy(entries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """By method, from a manifest's entries: how many maps point at their object, of how many, and the share."""
    hits: dict[str, list[bool]] = {}
    for entry in entries:
        if entry.get("pointing") is not None:
            hits.setdefault(entry["method"], []).append(entry["pointing"])
    return {
        method: {"hits": sum(mine), "of": len(mine), "accuracy": sum(mine) / len(mine)} for method, mine in hits.items()
    }
