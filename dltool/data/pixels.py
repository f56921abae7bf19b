"""Decoded images, scaled to what the network needs and kept in memory while there is room."""

import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dltool.backbones.preprocessing import Preprocessing
from dltool.data.sizes import MOST, UNASKED, Size, as_size, count_fitting, describe_size, fitting_size, width_height
from dltool.data.splits import ArraySplit, Split
from dltool.images.depth import read_pixels
from dltool.images.read import read_size
from dltool.images.tensors import fit_pixels

_SHARE_OF_MEMORY = 0.2
_MOST_BYTES = 4 * 2**30
# Of so many files the header is read to choose a size.
_LOOKED_AT = 1000


@dataclass(frozen=True)
class FilledShape(Preprocessing):
    """Images that are no squares: scaled until they cover `height` and `width`, and cut about their middle."""

    height: int = 64
    width: int = 64

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of what a network sees."""
        return self.height, self.width

    def scale_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """H × W × 3 uint8 pixels as height × width × 3."""
        return fit_pixels(pixels, self.shape)

    crop_pixels = scale_pixels


def natural_size(split: Split, squares: Collection[int] = (), own: int = 0) -> tuple[Size, tuple[str, ...]]:
    """The size that fits most images of a split, and what there is to say of those that it does not fit.

    See `dltool.data.sizes.fitting_size`; of many files the headers of a thousand tell. Images that are all alike, with
    sides of at most `own` pixels, keep their size.
    """
    most = UNASKED
    if isinstance(split, ArraySplit):
        sizes, most = [split.images.shape[2:0:-1]], MOST
    else:
        found = (read_size(path) for path in split.paths[:: -(-len(split) // _LOOKED_AT)])
        sizes = [size for size in found if size is not None]
    if len(set(sizes)) == 1 and max(sizes[0]) <= own:
        return as_size(sizes[0]), ()
    size = fitting_size(sizes, most, squares)
    if set(sizes) <= {width_height(size)}:
        return size, ()
    count = f"{count_fitting(sizes, size)} of {len(sizes)} images"
    return size, (f"scaled and cut to {describe_size(size)} pixels, which fits {count}; --size takes another",)


class _Kept:
    """Pixels by file while there is room."""

    def __init__(self, max_bytes: int) -> None:
        self.pixels: dict[str, np.ndarray] = {}
        self._left = max_bytes
        self._lock = threading.Lock()

    def add(self, path: Path, pixels: np.ndarray) -> None:
        with self._lock:
            if pixels.nbytes <= self._left and str(path) not in self.pixels:
                self._left -= pixels.nbytes
                self.pixels[str(path)] = pixels


class PixelReader:
    """Reads images scaled as the preprocessing wants them; each is decoded once if all fit into memory.

    What it returns does not depend on what it kept, so runs agree bit for bit whatever the machine's memory.
    """

    def __init__(self, preprocessing: Preprocessing, max_bytes: int | None = None) -> None:
        """Keep at most `max_bytes` (None: a fifth of the machine's memory, at most 4 GiB)."""
        self.preprocessing = preprocessing
        self._kept = _Kept(default_budget() if max_bytes is None else max_bytes)

    def for_preprocessing(self, preprocessing: Preprocessing) -> "PixelReader":
        """A reader for another preprocessing: with all that this one keeps, if both scale images alike."""
        reader = PixelReader(preprocessing)
        if self.preprocessing.scales_like(preprocessing):
            reader._kept = self._kept
        return reader

    def decode(self, path: Path) -> np.ndarray:
        """Read a file for the data's check: keep it for `read_file`, and return it as decoded, H × W × 3 uint8.

        Of a JPEG that is at least twice as large as `preprocessing.resize`, of other files their own size, so that what
        the check sees does not depend much on what the images are for.

        Raises:
            DataError: it cannot be read.
        """
        pixels = self._read(path)
        self._kept.add(path, self.preprocessing.scale_pixels(pixels))
        return pixels

    def read_file(self, path: Path) -> np.ndarray:
        """Return the image in `path`, H × W × 3 uint8, as `Preprocessing.scale_pixels` has it.

        Raises:
            DataError: it cannot be read.
        """
        kept = self._kept.pixels.get(str(path))
        if kept is not None:
            return kept
        pixels = self.preprocessing.scale_pixels(self._read(path))
        self._kept.add(path, pixels)
        return pixels

    def _read(self, path: Path) -> np.ndarray:
        return read_pixels(path, self.preprocessing.resize, self.preprocessing.white)

    def read(self, split: Split, index: int) -> np.ndarray:
        """Return one sample of a split, scaled likewise."""
        if hasattr(split, "paths"):
            return self.read_file(split.paths[index])
        return self.preprocessing.scale_pixels(split.read(index))


def memory_bytes() -> int:
    """The machine's memory; 8 GiB where it cannot be told."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # Windows has no sysconf
        return 8 * 2**30


def default_budget() -> int:
    """Bytes of decoded images to keep: a fifth of the machine's memory, at most 4 GiB."""
    return min(_MOST_BYTES, int(memory_bytes() * _SHARE_OF_MEMORY))


def resident_images(split: Split, reader: PixelReader, in_channels: int) -> Tensor:
    """All images of a split as N × C × H × W uint8 on the CPU.

    Raises:
        DataError: an image cannot be read.
    """
    if isinstance(split, ArraySplit) and split.images.shape[1:3] == reader.preprocessing.shape:
        images = split.images if split.images.ndim == 4 else split.images[..., None]
        if images.shape[-1] == in_channels:
            return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    photos = [input_pixels(reader.read(split, index), reader.preprocessing, in_channels) for index in range(len(split))]
    return torch.from_numpy(np.stack(photos).transpose(0, 3, 1, 2).copy())


def input_pixels(pixels: np.ndarray, preprocessing: Preprocessing, in_channels: int) -> np.ndarray:
    """H × W × 3 pixels as the crop × crop × `in_channels` ones that a network sees."""
    cropped = preprocessing.crop_pixels(pixels)
    if in_channels == 3:
        return cropped
    return np.asarray(Image.fromarray(cropped).convert("L"))[..., None]
