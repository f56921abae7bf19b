"""Finding and reading the images that a run worked on, of which its files keep only the names."""

from functools import cached_property
from pathlib import Path

import numpy as np

from dltool.data.splits import Dataset
from dltool.errors import DataError
from dltool.images.read import read_image


class Originals:
    """The images of a data set by the names that a run gave them.

    Args:
        source: the data as it was typed: a folder, a file, or the name of a built-in set.
        root: where built-in sets are kept.
    """

    def __init__(self, source: str | None = None, root: Path = Path("data")) -> None:
        self._source = source
        self._root = root

    def path(self, name: str) -> Path | None:
        """The file of an image: the name itself, or in the data's folder; None if there is none."""
        candidates = [Path(name)]
        if self._source is not None:
            folder = Path(self._source)
            candidates += [folder / name, folder.parent / name]
        return next((path for path in candidates if path.is_file()), None)

    def read(self, name: str, side: int) -> np.ndarray:
        """Decode an image, H × W × 3 uint8, a large file at no less than `side` pixels.

        Raises:
            DataError: there is none of that name, or it cannot be read.
        """
        path = self.path(name)
        if path is not None and path.suffix != ".npy":
            return read_image(path, longest_side=side).pixels
        place, _, number = name.rpartition("/")
        if not number.isdecimal():
            raise DataError(f"{name}: no such file")
        return self._read_numbered(place, int(number))

    def _read_numbered(self, place: str, number: int) -> np.ndarray:
        """Image `number` of the split called `place`, or of the array in a file."""
        if self._array is not None:
            images = self._array
        elif self._dataset is not None:
            split = self._dataset.splits.get(place.rpartition("/")[2], self._dataset.splits["train"])
            images = split.images
        else:
            raise DataError(f"{place}/{number}: no such image")
        if number >= len(images):
            raise DataError(f"{place}/{number}: there are {len(images)} images only")
        image = images[number]
        return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)

    @cached_property
    def _array(self) -> np.ndarray | None:
        path = Path(self._source or "")
        if path.suffix != ".npy" or not path.is_file():
            return None
        try:
            images = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: damaged ({error})") from error
        return images if images.dtype == np.uint8 and images.ndim in (3, 4) else None

    @cached_property
    def _dataset(self) -> Dataset | None:
        from dltool.data.builtin import is_builtin, load_builtin  # the one thing here that waits for torch

        if self._source is None or not is_builtin(self._source):
            return None
        return load_builtin(self._source, self._root, download=False)
