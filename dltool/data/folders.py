"""Class folders: `DATA/<class>/…`, or `DATA/train/<class>/…` beside `val`, `valid` or `test`."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dltool.data.splits import Dataset, FileSplit
from dltool.errors import DataError
from dltool.images.folder import find_images, natural_key
from dltool.images.formats import IMAGE_SUFFIXES

# What a folder may be called, and the split that it then is.
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass
class Findings:
    """What a look at the data found, by kind; every list names files or classes."""

    notes: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def read_folder(root: Path, findings: Findings, for_training: bool = True) -> Dataset:
    """List a folder of class folders; nothing is decoded yet.

    With `for_training` False, when a trained model is measured, one class is enough, and so is `test/` or `val/` alone.

    The classes are those of train (or of the only split), in natural order; the other splits are mapped by name.
    Hidden folders and files that are no images are left out, and noted.

    Raises:
        DataError: no such folder, no classes, one class only, an empty class, or a class that train lacks; two
            folders for one split.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    folders = _class_folders(root, findings)
    by_split = _split_folders(root, [f for f in folders if f.name.lower() in SPLIT_NAMES and _has_folders(f)])
    if "train" not in by_split and (for_training or not by_split):
        if not folders:
            raise DataError(f"{root}: no class folders in it; one folder of pictures for each class is needed")
        return Dataset(root.name, *_one_split(root, folders, for_training))
    listed = {name: _class_folders(by_split[name], findings) for name in ("train", "val", "test") if name in by_split}
    if "train" in by_split:
        class_names, splits = _one_split(by_split["train"], listed["train"], for_training)
    else:
        names = {folder.name for found in listed.values() for folder in found}
        class_names, splits = tuple(sorted(names, key=lambda name: natural_key(Path(name)))), {}
    for name in [name for name in listed if name != "train"]:
        splits[name] = _other_split(by_split[name], listed[name], class_names, findings)
    for folder in folders:
        if folder not in by_split.values():
            findings.notes.append(f"{folder}: beside train/, so not used")
    return Dataset(root.name, class_names, splits)


def split_folders(root: Path) -> dict[str, Path]:
    """The folders in `root` that are named after a split (`train`, `val` or `valid`, `test`), by the split's name.

    Raises:
        DataError: `root` cannot be listed, or two folders are one split.
    """
    return _split_folders(root, _class_folders(root, Findings()))


def _has_folders(folder: Path) -> bool:
    """Whether it can hold classes; without folders in it `train` is a class, of railways perhaps."""
    return any(entry.is_dir() and not entry.name.startswith(".") for entry in folder.iterdir())


def read_unlabelled(root: Path, findings: Findings) -> Dataset:
    """List a folder whose classes need not be known: class folders as `read_folder` does, else all as one class.

    Raises:
        DataError: no such folder, or no images anywhere below it.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    images = find_images(root)
    if not images:
        raise DataError(f"{root}: no pictures in this folder")
    if all(path.parent != root for path in images):
        return read_folder(root, findings, for_training=False)
    return Dataset(
        root.resolve().name, (root.resolve().name,), {"train": FileSplit(tuple(images), np.zeros(len(images), int))}
    )


def _split_folders(root: Path, folders: list[Path]) -> dict[str, Path]:
    """The folders of splits by the split's name."""
    found: dict[str, Path] = {}
    for folder in folders:
        name = SPLIT_NAMES.get(folder.name.lower())
        if name is None:
            continue
        if name in found:
            raise DataError(f"{root}: {found[name].name} and {folder.name} are both the {name} split; keep one of them")
        found[name] = folder
    return found


def _one_split(root: Path, folders: list[Path], for_training: bool) -> tuple[tuple[str, ...], dict[str, FileSplit]]:
    images = {folder.name: find_images(folder) for folder in folders}
    if not any(images.values()):
        raise DataError(f"{root}: no pictures in its class folders")
    if not for_training:
        images = {name: found for name, found in images.items() if found}
    elif len(images) == 1:
        raise DataError(f"{root}: one class only ({folders[0].name}); at least two are needed")
    for name, found in images.items():
        if not found:
            raise DataError(f"{root / name}: an empty class; add pictures or remove the folder")
    labels = np.repeat(np.arange(len(images)), [len(found) for found in images.values()])
    return tuple(images), {"train": FileSplit(tuple(p for found in images.values() for p in found), labels)}


def _other_split(root: Path, folders: list[Path], class_names: tuple[str, ...], findings: Findings) -> FileSplit:
    paths: list[Path] = []
    labels: list[int] = []
    for folder in folders:
        found = find_images(folder)
        if folder.name not in class_names and found:
            known = ", ".join(class_names[:6]) + (", …" if len(class_names) > 6 else "")
            raise DataError(f"{folder}: a class that train lacks; train has {known}")
        if folder.name in class_names:
            paths += found
            labels += [class_names.index(folder.name)] * len(found)
    if not paths:
        raise DataError(f"{root}: no pictures in its class folders")
    absent = [name for index, name in enumerate(class_names) if index not in labels]
    if absent:
        findings.notes.append(f"{root}: no pictures of {', '.join(absent)}")
    return FileSplit(tuple(paths), np.array(labels))


def _class_folders(root: Path, findings: Findings) -> list[Path]:
    try:
        entries = sorted(root.iterdir(), key=natural_key)
    except OSError as error:
        raise DataError(f"{root}: cannot be listed ({error.strerror})") from error
    hidden = [entry for entry in entries if entry.is_dir() and entry.name.startswith(".")]
    loose = [entry for entry in entries if entry.is_file() and entry.suffix.lower() in IMAGE_SUFFIXES]
    findings.notes += [f"{entry}: hidden, so no class" for entry in hidden]
    if loose:
        findings.notes.append(f"{root}: {len(loose)} pictures in no class folder ({loose[0].name}, …) are not used")
    return [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
