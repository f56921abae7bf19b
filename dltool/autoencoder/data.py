"""Images without labels, from a folder or a set by name, divided into train, val and test."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dltool.autoencoder.settings import ImageData
from dltool.data.builtin import BUILTIN, is_builtin, load_builtin
from dltool.data.check import Checked
from dltool.data.folders import split_folders
from dltool.data.pixels import default_budget
from dltool.data.settings import OnBad
from dltool.data.splits import ArraySplit, content_hash
from dltool.errors import DataError, DltoolError, did_you_mean
from dltool.images.folder import find_images
from dltool.images.read import read_image
from dltool.images.stream import read_ahead
from dltool.images.tensors import is_grey

_VAL_SHARE = 0.1
_MOST_VAL = 5000


@dataclass(frozen=True)
class Images:
    """Images of one split, in memory as far as there is room, else decoded when asked for.

    Attributes:
        names: what each is called.
        sizes: height and width of each.
        hashes: of each image's content.
        grey: whether each has three equal channels.
        kept: decoded images by name, H × W or H × W × 3 uint8.
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
    """The data, checked and divided: `train` and `val` always, `test` where there is one."""

    name: str
    splits: dict[str, Images]
    notes: tuple[str, ...]
    unreadable: tuple[str, ...]

    @property
    def digest(self) -> str:
        """One text that depends on every image and its split."""
        parts = [f"{name}{split.hashes}" for name, split in self.splits.items()]
        return content_hash("".join(parts).encode())


def load_images(data: ImageData, workers: int, budget: int | None = None) -> Iterator[Checked | Loaded]:
    """Decode every image once; yield the progress and at the end what there is.

    Args:
        workers: threads that decode.
        budget: bytes of decoded images to keep; None takes what suits the machine.

    Raises:
        DataError: no such data, none of it readable, or (with on_bad `fail`) a bad file.
    """
    unreadable: list[str] = []
    notes: list[str] = []
    if is_builtin(data.source):
        built = load_builtin(data.source, data.root, data.download)
        splits = {name: _from_arrays(split) for name, split in built.splits.items() if isinstance(split, ArraySplit)}
        name = data.source
    else:
        root = Path(data.source)
        splits = yield from _read_folder(
            root, data, unreadable, workers, default_budget() if budget is None else budget
        )
        name = root.resolve().name
    splits = _divide(splits, data, notes)
    if data.limit:
        splits = {name: split.take(range(min(len(split), data.limit))) for name, split in splits.items()}
    yield Loaded(name, splits, tuple(notes), tuple(unreadable))


def _from_arrays(split: ArraySplit) -> Images:
    names = tuple(split.name(index) for index in range(len(split)))
    pixels = dict(zip(names, split.images, strict=True))
    size = tuple(split.images.shape[1:3])
    grey = split.images.ndim == 3
    return Images(names, (size,) * len(split), split.hashes, (grey,) * len(split), pixels)


def _read_folder(root: Path, data: ImageData, unreadable: list[str], workers: int, budget: int) -> Iterator[Checked]:
    if not root.exists():
        raise DataError(f"{root}: no such folder{did_you_mean(str(root), BUILTIN)}")
    if not root.is_dir():
        raise DataError(f"{root}: a file, but a folder of pictures is needed")
    folders = {name: find_images(folder) for name, folder in split_folders(root).items()}
    if not folders.get("train"):
        folders = {"train": find_images(root)}
    found = {name: paths for name, paths in folders.items() if paths}
    if not found:
        raise DataError(f"{root}: no pictures in this folder")
    done, total = 0, sum(len(paths) for paths in found.values())
    kept: dict[str, np.ndarray] = {}
    splits: dict[str, Images] = {}
    for name, paths in found.items():
        rows = []
        for path, pixels in read_ahead(paths, lambda path: read_image(path).pixels, workers):
            done += 1
            yield Checked(done, total)
            if isinstance(pixels, DltoolError):
                if data.on_bad is OnBad.FAIL:
                    raise DataError(f"{pixels}; remove it, or give --on-bad skip")
                unreadable.append(str(pixels))
                continue
            grey = is_grey(pixels)
            digest = content_hash(str(pixels.shape).encode() + pixels.tobytes())
            pixels = pixels[..., 0].copy() if grey else pixels
            if pixels.nbytes <= budget:
                budget -= pixels.nbytes
                kept[str(path)] = pixels
            rows.append((str(path), pixels.shape[:2], digest, grey))
        if rows:
            columns = [tuple(column) for column in zip(*rows, strict=True)]
            splits[name] = Images(*columns, kept)
    if "train" not in splits:
        raise DataError(f"{root}: none of its pictures can be read; the first: {unreadable[0]}")
    return splits


def _divide(splits: dict[str, Images], data: ImageData, notes: list[str]) -> dict[str, Images]:
    """Hold a share of train out where there is no val, by a hash of the content, so that names don't matter."""
    train = splits["train"]
    if "val" not in splits or data.val:
        share = min(_VAL_SHARE, _MOST_VAL / len(train)) if data.val is None else data.val
        ranks = {h: hashlib.blake2b(f"{data.seed}:{h}".encode(), digest_size=8).digest() for h in set(train.hashes)}
        order = sorted(ranks, key=ranks.__getitem__)
        held = set(order[: min(len(order) - 1, max(1, round(share * len(order))) if share else 0)])
        inside = [index for index, h in enumerate(train.hashes) if h in held]
        if inside:
            kept = [index for index, h in enumerate(train.hashes) if h not in held]
            splits = {**splits, "train": train.take(kept), "val": train.take(inside)}
        else:
            notes.append("no pictures are held out: what is measured are training pictures")
            splits = {**splits, "val": train}
    return {name: splits[name] for name in ("train", "val", "test") if name in splits}


def to_channels(pixels: np.ndarray, channels: int) -> Tensor:
    """H × W or H × W × 3 uint8 pixels as C × H × W uint8; 1 channel of colours is their luma (Rec. 601)."""
    if pixels.ndim == 2:
        return torch.from_numpy(pixels.copy()).unsqueeze(0).expand(channels, -1, -1)
    if channels == 1:
        luma = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        return torch.from_numpy(np.rint(luma).astype(np.uint8)).unsqueeze(0)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
