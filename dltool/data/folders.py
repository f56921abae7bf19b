"""Folders of images: `DATA/<class>/…`, or `DATA/train/<class>/…` beside `val`, `valid` or `test`; or just images."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dltool.data.splits import SPLITS, Dataset, FileSplit
from dltool.errors import DataError
from dltool.images.folder import find_images, is_folder, natural_key
from dltool.images.formats import IMAGE_SUFFIXES

# What a folder may be called, and the split that it then is.
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass
class Findings:
    """What a look at the data found, by kind; every list names files or classes."""

    notes: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def read_folder(root: Path, findings: Findings, for_training: bool = True, exclude: Path | None = None) -> Dataset:
    """List a folder of class folders; nothing is decoded yet.

    With `for_training` False, when a trained model is measured, one class is enough, and so is `test/` or `val/` alone.
    `exclude` is a folder in it that is no class: the output.

    The classes are those of train (or of the only split), in natural order; the other splits are mapped by name.
    Hidden folders and files that are no images are left out, and noted.

    Raises:
        DataError: no such folder, no classes, one class only, an empty class, or a class that train lacks; two
            folders for one split.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    folders = [folder for folder in _class_folders(root, findings) if exclude is None or not _same(folder, exclude)]
    named = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES and _has_folders(folder)]
    by_split = {split: root / name for split, name in _by_split(root, [folder.name for folder in named]).items()}
    if "train" not in by_split and (for_training or not by_split):
        if not folders:
            raise DataError(f"{root}: no class folders in it; one folder of pictures for each class is needed")
        return Dataset(root.name, *_one_split(root, folders, for_training))
    listed = {name: _class_folders(by_split[name], findings) for name in SPLITS if name in by_split}
    if "train" in by_split:
        class_names, splits = _one_split(by_split["train"], listed["train"], for_training)
    else:
        class_names, splits = tuple(_in_order({folder.name for found in listed.values() for folder in found})), {}
    for name in [name for name in listed if name != "train"]:
        splits[name] = _other_split(by_split[name], listed[name], class_names, findings)
    for folder in folders:
        if folder not in by_split.values():
            findings.notes.append(f"{folder}: beside train/, so not used")
    return Dataset(root.name, class_names, splits)


def read_unlabelled(root: Path, findings: Findings, exclude: Path | None = None) -> Dataset:
    """List a folder whose classes need not be known; images may lie anywhere in it. Nothing is decoded yet.

    Folders called after splits are splits where nothing but those is there, or where `train` is one with folders in
    it. The first folder below is the class, as `class_folders` tells it; without classes all images have one, called
    after `root`.

    Args:
        exclude: a folder in it whose images are not listed.

    Raises:
        DataError: no such folder, or no images anywhere in it; two folders for one split.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    images = find_images(root, exclude)
    if not images:
        raise DataError(f"{root}: no pictures in this folder")
    relative = [image.relative_to(root) for image in images]
    by_split = _by_split(root, _split_names(relative))
    homes = {name: split for split, name in by_split.items()}
    used = [index for index, path in enumerate(relative) if not homes or path.parts[0] in homes]
    if len(used) < len(images):
        beside = _in_order({path.parts[0] for path in relative} - set(homes))
        count = len(images) - len(used)
        findings.notes.append(f"{root}: {count} pictures beside train/ ({beside[0]}, …) are not used")
    split_of = np.array([homes.get(relative[index].parts[0], "train") for index in used])
    inside = [Path(*relative[index].parts[1:]) if homes else relative[index] for index in used]
    class_names, labels, notes = class_folders(inside)
    findings.notes += notes
    everything = FileSplit(
        tuple(images[index] for index in used), np.zeros(len(used), int) if labels is None else labels
    )
    splits = {name: everything.take(np.flatnonzero(split_of == name)) for name in SPLITS if name in split_of}
    own_name = root.resolve().name
    return Dataset(own_name, class_names or (own_name,), splits)


def class_folders(relative: Sequence[Path]) -> tuple[tuple[str, ...], np.ndarray | None, tuple[str, ...]]:
    """Class names, the class of each image, and notes, from paths in a folder: the class is a path's first folder.

    Without folders, with one only, or with images beside the folders, there are no classes.
    """
    loose = sum(len(path.parts) == 1 for path in relative)
    names = sorted(
        {path.parts[0] for path in relative if len(path.parts) > 1}, key=lambda name: natural_key(Path(name))
    )
    if len(names) < 2 or loose:
        notes = (f"{loose} pictures lie in no class folder, so folders are not taken for classes",) if names else ()
        return (), None, notes if loose else ()
    return tuple(names), np.array([names.index(path.parts[0]) for path in relative], np.int64), ()


def _split_names(relative: Sequence[Path]) -> list[str]:
    """The folders that are splits of unlabelled data, by name."""
    folders = list(dict.fromkeys(path.parts[0] for path in relative if len(path.parts) > 1))
    named = [name for name in folders if name.lower() in SPLIT_NAMES]
    if named != folders:  # `train` beside `station` may well be a class, unless it has folders in it
        deep = {path.parts[0] for path in relative if len(path.parts) > 2}
        named = [name for name in named if name in deep]
    has_train = any(SPLIT_NAMES[name.lower()] == "train" for name in named)
    alone = named == folders and all(len(path.parts) > 1 for path in relative)
    return named if has_train or alone else []


def _in_order(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: natural_key(Path(name)))


def _same(folder: Path, other: Path) -> bool:
    return os.path.realpath(folder) == os.path.realpath(other)


def _has_folders(folder: Path) -> bool:
    """Whether it can hold classes; without folders in it `train` is a class, of railways perhaps."""
    try:
        return any(is_folder(entry) and not entry.name.startswith(".") for entry in folder.iterdir())
    except OSError:
        return False  # which is told where its images are looked for


def _by_split(root: Path, names: Sequence[str]) -> dict[str, str]:
    """The folders of splits by the split's name."""
    found: dict[str, str] = {}
    for name in names:
        split = SPLIT_NAMES[name.lower()]
        if split in found:
            raise DataError(f"{root}: {found[split]} and {name} are both the {split} split; keep one of them")
        found[split] = name
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
    hidden = [entry for entry in entries if is_folder(entry) and entry.name.startswith(".")]
    loose = [entry for entry in entries if not is_folder(entry) and entry.suffix.lower() in IMAGE_SUFFIXES]
    findings.notes += [f"{entry}: hidden, so no class" for entry in hidden]
    if loose:
        findings.notes.append(f"{root}: {len(loose)} pictures in no class folder ({loose[0].name}, …) are not used")
    return [entry for entry in entries if is_folder(entry) and not entry.name.startswith(".")]
