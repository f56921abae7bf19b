"""Images without labels, from a folder or a set by name, divided into train, val and test."""

import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dltool.autoencoder.settings import AeSettings, Arch, ImageData
from dltool.data.check import Checked
from dltool.data.load import check_data, list_data
from dltool.data.pixels import default_budget, natural_size
from dltool.data.sizes import width_height
from dltool.data.splits import ArraySplit, Split, content_hash
from dltool.images.read import read_image
from dltool.images.tensors import LUMA, fit_pixels, is_grey

# Whole images that are this small and all alike keep their size.
SMALL_SIDE = 128


@dataclass(frozen=True)
class Images:
    """Images of one split, in memory as far as there is room, else decoded when asked for.

    Attributes:
        names: what each is called.
        sizes: height and width of each.
        hashes: of each image's content.
        grey: whether each has three equal channels.
        kept: decoded images by name, H × W or H × W × 3 uint8, cut and scaled if `load_images` was told to.
    """

    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    hashes: tuple[str, ...]
    grey: tuple[bool, ...]
    kept: dict[str, np.ndarray] = field(repr=False)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def in_memory(self) -> bool:
        """Whether none has to be decoded again."""
        return all(name in self.kept for name in self.names)

    def pixels(self, index: int) -> np.ndarray:
        """One image, H × W × 3 uint8, or H × W if it is grey and kept.

        Raises:
            DataError: its file can no longer be read.
        """
        kept = self.kept.get(self.names[index])
        return read_image(self.names[index]).pixels if kept is None else kept

    def take(self, indices: Sequence[int]) -> "Images":
        """The images at `indices`, in that order."""
        columns = ([column[i] for i in indices] for column in (self.names, self.sizes, self.hashes, self.grey))
        return Images(*(tuple(column) for column in columns), self.kept)


@dataclass(frozen=True)
class Loaded:
    """The data, checked and divided: `train` and `val` always, `test` where there is one.

    `size` is the height and width that whole images have where none was asked for; None where they are not learnt.
    """

    name: str
    splits: dict[str, Images]
    notes: tuple[str, ...]
    unreadable: tuple[str, ...]
    size: tuple[int, int] | None = None

    @property
    def line(self) -> str:
        """What is in the splits, in words."""
        return "data: " + ", ".join(f"{len(split)} {name}" for name, split in self.splits.items())

    @property
    def digest(self) -> str:
        """One text that depends on every image and its split."""
        parts = [f"{name}{split.hashes}" for name, split in self.splits.items()]
        return content_hash("".join(parts).encode())


class _Keeper:
    """Reads files, remembers what each is, and keeps the pixels while there is room."""

    def __init__(self, budget: int, fit: Callable[[np.ndarray], np.ndarray] | None) -> None:
        self._left = budget
        self._fit = fit
        self._kept: dict[str, np.ndarray] = {}
        self._seen: dict[str, tuple[tuple[int, int], str, bool]] = {}
        self._lock = threading.Lock()

    def read(self, path: Path) -> np.ndarray:
        """The pixels of a file, H × W × 3 uint8."""
        pixels = read_image(path).pixels
        grey = is_grey(pixels)
        self._seen[str(path)] = pixels.shape[:2], content_hash(str(pixels.shape).encode() + pixels.tobytes()), grey
        wanted = pixels[..., 0].copy() if grey else pixels
        wanted = wanted if self._fit is None else self._fit(wanted)
        with self._lock:
            if wanted.nbytes <= self._left:
                self._left -= wanted.nbytes
                self._kept[str(path)] = wanted
        return pixels

    def digest(self, path: Path) -> str:
        """Hash of the pixels of a file that has been read."""
        return self._seen[str(path)][1]

    def images(self, split: Split) -> Images:
        """What `read` has seen of a split, or a split in memory."""
        names = tuple(split.name(index) for index in range(len(split)))
        if isinstance(split, ArraySplit):
            size, grey = tuple(split.images.shape[1:3]), split.images.ndim == 3
            pixels = dict(zip(names, split.images, strict=True))
            return Images(names, (size,) * len(split), split.hashes, (grey,) * len(split), pixels)
        sizes, hashes, grey = zip(*(self._seen[name] for name in names), strict=True)
        return Images(names, sizes, hashes, grey, self._kept)


def load_images(
    data: ImageData,
    workers: int,
    budget: int | None = None,
    settings: AeSettings | None = None,
    exclude: Path | None = None,
    fit: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Generator[Checked, None, Loaded]:
    """Decode every image once; yield the progress and return what there is.

    Args:
        workers: threads that decode.
        budget: bytes of decoded images to keep; None takes what suits the machine.
        settings: of what learns from them: images that it takes whole are kept at its size; None keeps all as they are.
        exclude: a folder whose images are not data: the run's.
        fit: what is kept of an image's pixels, H × W (× 3) uint8, where `settings` do not say it.

    Raises:
        DataError: no such data, none of it readable, or (with on_bad `fail`) a bad file.
    """
    listed = list_data(data, exclude)
    size, said = _whole_size(next(iter(listed.dataset.splits.values())), settings)
    fit = fit if size is None else partial(fit_pixels, size=size)
    keeper = _Keeper(default_budget() if budget is None else budget, fit)
    report = yield from check_data(listed, data, None, keeper.read, workers, keeper.digest)
    splits = {name: keeper.images(split) for name, split in report.dataset.splits.items()}
    return Loaded(report.dataset.name, splits, (*report.notes, *said), report.unreadable, size)


def _whole_size(split: Split, settings: AeSettings | None) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
    """Height and width of whole images, and what there is to say of it; None where they are not learnt."""
    if settings is None or settings.arch is Arch.UNET:
        return None, ()
    size, said = (settings.size, ()) if settings.size is not None else natural_size(split, own=SMALL_SIDE)
    return width_height(size)[::-1], said


def to_channels(pixels: np.ndarray, channels: int) -> Tensor:
    """H × W or H × W × 3 uint8 pixels as C × H × W uint8; 1 channel of colours is their luma (Rec. 601)."""
    if pixels.ndim == 2:
        return torch.from_numpy(pixels.copy()).unsqueeze(0).expand(channels, -1, -1)
    if channels == 1:
        luma = pixels.astype(np.float32) @ np.array(LUMA, np.float32)
        return torch.from_numpy(np.rint(luma).astype(np.uint8)).unsqueeze(0)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
