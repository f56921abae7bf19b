"""Data sets by name: scikit-learn's digits, MNIST, FashionMNIST, CIFAR-10."""

import pickle
from pathlib import Path

import numpy as np

from dltool.data.idx import find_idx, read_idx
from dltool.data.splits import ArraySplit, Dataset
from dltool.device import is_out_of_memory
from dltool.errors import DataError

FASHION_CLASSES = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_DIGITS = tuple("0123456789")
# Name, torchvision's class and folder, class names.
_IDX_SETS = {"mnist": ("MNIST", _DIGITS), "fashion-mnist": ("FashionMNIST", FASHION_CLASSES)}
BUILTIN = ("digits", *_IDX_SETS, "cifar10")


def is_builtin(source: str) -> bool:
    """Whether `source` names a built-in set and no folder."""
    return source in BUILTIN and not Path(source).is_dir()


def load_builtin(name: str, root: Path, download: bool) -> Dataset:
    """Load a set of `BUILTIN` with its own splits, `train` and but for digits `test`.

    Args:
        root: where torchvision keeps its data: `MNIST/raw/*.gz` and so on below it.
        download: fetch it there through torchvision if it is absent.

    Raises:
        DataError: absent, damaged, or the download failed.
    """
    if name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        return Dataset(name, _DIGITS, {"train": ArraySplit(images, digits.target.astype(np.int64), name)})
    if name == "cifar10":
        return _load_cifar10(root, download)
    folder_name, class_names = _IDX_SETS[name]
    folder = root / folder_name
    if find_idx(folder, "train-images-idx3-ubyte") is None:
        _fetch(folder_name, name, folder, root, download)
    splits = {}
    for split, prefix in (("train", "train"), ("test", "t10k")):
        parts = [find_idx(folder, f"{prefix}-{part}-ubyte") for part in ("images-idx3", "labels-idx1")]
        if None in parts:
            raise DataError(f"{folder}: no {prefix}-images and {prefix}-labels IDX files in it")
        images, labels = (read_idx(path) for path in parts if path is not None)
        if images.ndim != 3 or len(images) != len(labels):
            raise DataError(f"{folder}: {len(images)} {split} images but {len(labels)} labels")
        splits[split] = ArraySplit(images.astype(np.uint8), labels.astype(np.int64), f"{name}/{split}")
    return Dataset(name, class_names, splits)


def _load_cifar10(root: Path, download: bool) -> Dataset:
    from torchvision.datasets import CIFAR10

    if not (root / CIFAR10.base_folder).is_dir():
        _fetch("CIFAR10", "cifar10", root / CIFAR10.base_folder, root, download)
    splits = {}
    for split, train in (("train", True), ("test", False)):
        try:
            loaded = CIFAR10(root, train=train)  # checks the files' MD5 sums before it unpickles them
        except (RuntimeError, OSError, pickle.UnpicklingError) as error:
            if is_out_of_memory(error):
                raise
            raise DataError(f"{root / CIFAR10.base_folder}: damaged ({error})") from error
        splits[split] = ArraySplit(loaded.data, np.array(loaded.targets), f"cifar10/{split}")
    return Dataset("cifar10", CIFAR10_CLASSES, splits)


def _fetch(class_name: str, name: str, folder: Path, root: Path, download: bool) -> None:
    if not download:
        raise DataError(f"{name}: not found at {folder}; give --data-root FOLDER, or --download to fetch it there")
    from torchvision import datasets

    try:
        getattr(datasets, class_name)(root, download=True)
    except Exception as error:  # urllib's, the checksum's and the archive's types
        raise DataError(f"{name}: cannot be fetched ({' '.join(str(error).split())[:120]})") from error
