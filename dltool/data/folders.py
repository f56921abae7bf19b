"""Listing folders of images as data sets: `DATA/<class>/…`, `DATA/train/<class>/…` beside `val` or `test`,
`DATA/<class>/train/…` (see `layouts.py`); or just images."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dltool.data.findings import Finding, Findings
from dltool.data.layouts import (
    SPLIT_NAMES,
    class_folders_of,
    find_classes,
    find_home,
    has_folders,
    in_order,
    is_split_name,
    match_class,
    name_splits,
    splits_in_classes,
)
from dltool.data.splits import SPLITS, Dataset, FileSplit
from dltool.errors import DataError
from dltool.images.folder import describe_unread, find_images, find_unread, natural_key, no_images


def read_folder(root: Path, findings: Findings, for_training: bool = True, exclude: Path | None = None) -> Dataset:
    """List a folder of class folders; nothing is decoded yet.

    With `for_training` False, when a trained model is measured, one class is enough, and so is `test/` or `val/` alone.
    `exclude` is a folder in it that is no class: the output.

    The classes are those of train (or of the only split), in natural order; the other splits are mapped by name.
    Hidden folders and files that are no images are left out, and noted.

    Raises:
        DataError: no such folder, no classes, one class only, an empty class, or a class that train lacks; two
            folders for one split; some classes divided into splits and some not.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    _note_unread(root, findings, exclude)
    home = find_home(root)
    if home != root:
        findings.notes.append(f"{home}: the classes are looked for here")
    folders = [each for each in class_folders_of(home, findings) if exclude is None or not _same(each, exclude)]
    named = [folder.name for folder in folders if is_split_name(folder.name) and has_folders(folder)]
    by_split = {split: home / name for split, name in name_splits(home, named).items()}
    if "train" in by_split or (by_split and not for_training):
        return _read_splits(root.name, home, by_split, folders, findings, for_training)
    if not folders:
        raise _no_classes(home)
    if divided := splits_in_classes(home, folders):
        return _read_divided(root.name, home, divided, for_training)
    classes = find_classes(home, folders, findings)
    return Dataset(root.name, *_one_split(home, classes, for_training))


def _read_splits(
    name: str, home: Path, by_split: dict[str, Path], folders: list[Path], findings: Findings, for_training: bool
) -> Dataset:
    """Folders of splits with folders of classes in them."""
    class_names: tuple[str, ...] = ()
    splits: dict[str, FileSplit] = {}
    inside = {split: class_folders_of(by_split[split], findings) for split in SPLITS if split in by_split}
    if "train" in inside:
        train = find_classes(by_split["train"], inside.pop("train"), findings)
        class_names, splits = _one_split(by_split["train"], train, for_training)
    others = {split: find_classes(by_split[split], found, findings, class_names) for split, found in inside.items()}
    if not class_names:
        class_names = tuple(in_order({each for classes in others.values() for each in classes}))
    for split, found in others.items():
        splits[split] = _other_split(by_split[split], found, class_names, findings)
    for folder in folders:
        if folder not in by_split.values():
            findings.notes.append(f"{folder}: beside train/, so not used")
    return Dataset(name, class_names, splits)


def _read_divided(name: str, home: Path, divided: dict[str, dict[str, Path]], for_training: bool) -> Dataset:
    """Folders of classes with folders of splits in them."""
    splits: dict[str, FileSplit] = {}
    for split in SPLITS:
        images = {each: find_images(inside[split]) if split in inside else [] for each, inside in divided.items()}
        if split == "train" and for_training:
            splits |= _one_split(home, images, for_training)[1]
        elif any(images.values()):
            splits[split] = _as_split(images, tuple(divided))
    return Dataset(name, tuple(divided), splits)


def _note_unread(root: Path, findings: Findings, exclude: Path | None) -> None:
    """A note on files of a kind that is not read, and each of them as a finding."""
    unread = find_unread(root, exclude)
    if unread:
        findings.notes.append(f"{root}: {describe_unread(unread)}")
        findings.files += [Finding("unknown kind", str(file)) for file in unread]


def _no_classes(home: Path) -> DataError:
    unread = describe_unread(find_unread(home))
    said = f"; {unread}" if unread else ""
    return DataError(f"{home}: no class folders in it; one folder of pictures for each class is needed{said}")


def read_unlabelled(root: Path, findings: Findings, exclude: Path | None = None) -> Dataset:
    """List a folder whose classes need not be known; images may lie anywhere in it. Nothing is decoded yet.

    What `read_folder` makes classes and splits of is taken so here, if no image is lost by that. Elsewhere folders
    called after splits, in `root` or in the one folder that it holds, are splits where nothing but those is there, or
    where `train` is one with folders in it. The first folder below is the class, as `class_folders` tells it; without
    classes all images have one, called after `root`.

    Args:
        exclude: a folder in it whose images are not listed.

    Raises:
        DataError: no such folder, or no images anywhere in it; two folders for one split.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    images = find_images(root, exclude)
    if not images:
        raise no_images(root, exclude)
    home = _home_of_splits(root, images)
    relative = [image.relative_to(home) for image in images]
    by_split = name_splits(home, _split_names(relative))
    homes = {name: split for split, name in by_split.items()}
    used = [index for index, path in enumerate(relative) if not homes or path.parts[0] in homes]
    own_name = root.resolve().name
    labelled = _read_labelled(root, findings, exclude, {images[index] for index in used})
    if labelled is not None:
        return replace(labelled, name=own_name)
    _note_unread(root, findings, exclude)
    if len(used) < len(images):
        beside = in_order({path.parts[0] for path in relative} - set(homes))
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
    return Dataset(own_name, class_names or (own_name,), splits)


def _read_labelled(root: Path, findings: Findings, exclude: Path | None, wanted: set[Path]) -> Dataset | None:
    """The folder as `read_folder` has it, if that takes all of `wanted` and nothing else."""
    said = Findings()
    try:
        dataset = read_folder(root, said, for_training=False, exclude=exclude)
    except DataError:
        return None
    if {path for split in dataset.splits.values() for path in split.paths} != wanted:
        return None
    findings.notes += said.notes
    findings.files += said.files
    return dataset


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


def _home_of_splits(root: Path, images: Sequence[Path]) -> Path:
    """The folder in which splits lie, where all images lie in one folder below `root`; else `root`."""
    home = root
    while True:
        relative = [image.relative_to(home).parts for image in images]
        if _split_names([Path(*parts) for parts in relative]):
            return home
        if len({parts[0] for parts in relative}) != 1 or any(len(parts) < 3 for parts in relative):
            return root
        home /= relative[0][0]


def _split_names(relative: Sequence[Path]) -> list[str]:
    """The folders that are splits of unlabelled data, by name."""
    folders = list(dict.fromkeys(path.parts[0] for path in relative if len(path.parts) > 1))
    named = [name for name in folders if is_split_name(name)]
    if named != folders:  # `train` beside `station` may well be a class, unless it has folders in it
        deep = {path.parts[0] for path in relative if len(path.parts) > 2}
        named = [name for name in named if name in deep]
    has_train = any(SPLIT_NAMES[name.lower()] == "train" for name in named)
    alone = named == folders and all(len(path.parts) > 1 for path in relative)
    return named if has_train or alone else []


def _same(folder: Path, other: Path) -> bool:
    return os.path.realpath(folder) == os.path.realpath(other)


def _one_split(
    root: Path, images: dict[str, list[Path]], for_training: bool
) -> tuple[tuple[str, ...], dict[str, FileSplit]]:
    if not any(images.values()):
        unread = describe_unread(find_unread(root))
        raise DataError(f"{root}: no pictures in its class folders{f'; {unread}' if unread else ''}")
    if not for_training:
        images = {name: found for name, found in images.items() if found}
    elif len(images) == 1:
        raise DataError(f"{root}: one class only ({next(iter(images))}); at least two are needed")
    for name, found in images.items():
        if not found:
            raise DataError(f"{root / name}: an empty class; add pictures or remove the folder")
    return tuple(images), {"train": _as_split(images, tuple(images))}


def _other_split(
    root: Path, images: dict[str, list[Path]], class_names: tuple[str, ...], findings: Findings
) -> FileSplit:
    mapped: dict[str, list[Path]] = {}
    for name, found in images.items():
        known = match_class(name, class_names)
        if known is not None:
            mapped[known] = [*mapped.get(known, []), *found]
        elif found:
            names = ", ".join(class_names[:6]) + (", …" if len(class_names) > 6 else "")
            raise DataError(f"{root / name}: a class that train lacks; train has {names}")
    if not any(mapped.values()):
        raise DataError(f"{root}: no pictures in its class folders")
    absent = [name for name in class_names if not mapped.get(name)]
    if absent:
        findings.notes.append(f"{root}: no pictures of {', '.join(absent)}")
    return _as_split(mapped, class_names)


def _as_split(images: dict[str, list[Path]], class_names: tuple[str, ...]) -> FileSplit:
    labels = np.repeat([class_names.index(name) for name in images], [len(found) for found in images.values()])
    return FileSplit(tuple(path for found in images.values() for path in found), labels)
