"""Images of one size in memory, grey or colour as they are, with their classes."""

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dltool.backbones.preprocessing import Preprocessing
from dltool.data.check import Checked
from dltool.data.load import check_data, list_data
from dltool.data.pixels import PixelReader, resident_images
from dltool.data.settings import DataSettings
from dltool.data.splits import ArraySplit, Split
from dltool.gan.settings import SIZES
from dltool.images.read import read_size

_FILES_SIZE = 64


@dataclass(frozen=True)
class GanData:
    """The images of one split.

    Attributes:
        split: its name.
        images: N × channels × size × size uint8 on the CPU.
        labels: N int64.
        class_names: in index order; one where no classes are known.
        notes, unreadable: what the data check found.
    """

    name: str
    split: str
    images: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    class_names: tuple[str, ...]
    notes: tuple[str, ...]
    unreadable: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        """Side of the images."""
        return self.images.shape[-1]

    @property
    def channels(self) -> int:
        """1 grey, 3 colour."""
        return self.images.shape[1]

    @property
    def class_counts(self) -> list[int]:
        """Images of each class."""
        return torch.bincount(self.labels, minlength=len(self.class_names)).tolist()

    @cached_property
    def digest(self) -> str:
        """One text that depends on every image, its class and the order."""
        digest = hashlib.blake2b(self.labels.numpy().tobytes(), digest_size=16)
        digest.update(np.ascontiguousarray(self.images.numpy()))
        return digest.hexdigest()


def load_images(
    data: DataSettings,
    size: int,
    workers: int,
    splits: Sequence[str] = ("train",),
    channels: int | None = None,
    exclude: Path | None = None,
) -> Generator[Checked, None, list[GanData]]:
    """Decode the images, scale and crop each to a square from its centre; yield progress and return them.

    There is one for each of `splits` that the data has; if it has none of them, one for train or the only split.

    Args:
        data: a folder of images is enough, whatever `complete` and `labelled` say.
        size: side of the images; 0 takes that of a set of small images, and for files 64 or what they have.
        workers: threads that decode.
        splits: names of those to decode.
        channels: 1 grey or 3 colour; None takes grey if all images are.
        exclude: a folder whose images are not data: the run's.

    Raises:
        DataError: nothing that can be read.
    """
    data = replace(data, complete=False, labelled=False)
    listed = list_data(data, exclude)
    dataset = listed.dataset
    chosen = [name for name in splits if name in dataset.splits] or [next(iter(dataset.splits))]
    dataset = replace(dataset, splits={name: dataset.splits[name] for name in chosen})
    size = size or natural_size(dataset.splits[chosen[0]])
    reader = PixelReader(Preprocessing(resize=size, crop=size, interpolation="bicubic"))
    report = yield from check_data(replace(listed, dataset=dataset), data, None, reader.read_file, workers)
    found = []
    for name, split in report.dataset.splits.items():
        images = resident_images(split, reader, channels or _channels_of(split))
        if channels is None and images.shape[1] == 3 and bool((images == images[:, :1]).all()):
            images = images[:, :1].contiguous()
        labels = torch.from_numpy(split.labels.astype(np.int64))
        found.append(GanData(dataset.name, name, images, labels, dataset.class_names, report.notes, report.unreadable))
    return found


def natural_size(split: Split) -> int:
    """The largest of `SIZES` that the first image fills: for images in memory theirs, for files at most 64."""
    if isinstance(split, ArraySplit):
        side, most = min(split.images.shape[1:3]), max(SIZES)
    else:
        sizes = (read_size(path) for path in split.paths)
        side, most = min(next((size for size in sizes if size is not None), (_FILES_SIZE,))), _FILES_SIZE
    return max([known for known in SIZES if known <= min(side, most)], default=min(SIZES))


def _channels_of(split: Split) -> int:
    return 1 if isinstance(split, ArraySplit) and split.images.ndim == 3 else 3
