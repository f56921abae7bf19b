"""Images of one size in memory, grey or colour as they are, with their classes."""

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dltool.backbones.preprocessing import Preprocessing
from dltool.data.check import Checked
from dltool.data.load import check_data, list_data
from dltool.data.pixels import FilledShape, PixelReader, natural_size, resident_images
from dltool.data.settings import DataSettings
from dltool.data.sizes import Size, as_size, describe_size, width_height
from dltool.data.splits import ArraySplit, Split
from dltool.gan.settings import SQUARES


@dataclass(frozen=True)
class GanData:
    """The images of one split.

    Attributes:
        split: its name.
        images: N × channels × height × width uint8 on the CPU.
        labels: N int64.
        class_names: in index order; one where no classes are known.
        notes, unreadable: what the data check found.
        paths: the files, of a folder.
    """

    name: str
    split: str
    images: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    class_names: tuple[str, ...]
    notes: tuple[str, ...]
    unreadable: tuple[str, ...]
    paths: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def line(self) -> str:
        """How many images of what kind, in words."""
        kind = "grey" if self.channels == 1 else "colour"
        classes = f", {len(self.class_names)} classes" if len(self.class_names) > 1 else ""
        return f"data: {len(self)} {kind} pictures of {describe_size(self.size)} pixels{classes}"

    @property
    def facts(self) -> dict[str, Any]:
        """The same as the JSON document has it."""
        return {"name": self.name, "pictures": len(self), "size": self.size, "channels": self.channels}

    @property
    def size(self) -> Size:
        """Side of the images, or width and height."""
        return as_size(self.images.shape[:1:-1])

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
    size: Size | None,
    workers: int,
    splits: Sequence[str] = ("train",),
    channels: int | None = None,
    exclude: Path | None = None,
) -> Generator[Checked, None, list[GanData]]:
    """Decode the images, scale each until it covers the size and crop it from its centre; yield progress, return them.

    There is one for each of `splits` that the data has; if it has none of them, one for train or the only split.

    Args:
        data: a folder of images is enough, whatever `complete` and `labelled` say.
        size: of the images; None takes the one that fits most of them, and a note says so.
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
    notes: tuple[str, ...] = ()
    if size is None:
        size, notes = natural_size(dataset.splits[chosen[0]], SQUARES)
    reader = PixelReader(_preprocessing(size))
    report = yield from check_data(replace(listed, dataset=dataset), data, None, reader.read_file, workers)
    found = []
    for name, split in report.dataset.splits.items():
        images = resident_images(split, reader, channels or _channels_of(split))
        if channels is None and images.shape[1] == 3 and bool((images == images[:, :1]).all()):
            images = images[:, :1].contiguous()
        labels = torch.from_numpy(split.labels.astype(np.int64))
        notes = (*report.notes, *notes)
        paths = getattr(split, "paths", ())
        found.append(GanData(dataset.name, name, images, labels, dataset.class_names, notes, report.unreadable, paths))
        notes = ()
    return found


def _preprocessing(size: Size) -> Preprocessing:
    width, height = width_height(size)
    if width == height:
        return Preprocessing(resize=width, crop=width, interpolation="bicubic")
    return FilledShape(resize=max(width, height), height=height, width=width)


def _channels_of(split: Split) -> int:
    return 1 if isinstance(split, ArraySplit) and split.images.ndim == 3 else 3
