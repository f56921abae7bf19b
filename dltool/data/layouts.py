"""What folders of images mean: which are splits, which are classes, and which only hold the others."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from dltool.data.findings import Findings
from dltool.errors import DataError
from dltool.images.folder import find_images, is_folder, is_junk, natural_key
from dltool.images.formats import has_image_suffix

# What a folder may be called, in any case, and the split that it then is.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
_NAMED = 6


def in_order(names: Iterable[str]) -> list[str]:
    """Names in natural order."""
    return sorted(names, key=lambda name: natural_key(Path(name)))


def is_split_name(name: str) -> bool:
    """Whether a folder of this name may be a split."""
    return name.lower() in SPLIT_NAMES


def list_folders(root: Path) -> list[Path]:
    """The folders in `root` that somebody means, in natural order.

    Raises:
        DataError: it cannot be listed.
    """
    return [entry for entry in _entries(root) if is_folder(entry) and not is_junk(entry.name)]


def class_folders_of(root: Path, findings: Findings) -> list[Path]:
    """`list_folders`, with a note on what is there beside them."""
    entries = _entries(root)
    junk = [entry for entry in entries if is_folder(entry) and is_junk(entry.name)]
    loose = [entry for entry in entries if _is_image(entry)]
    findings.notes += [f"{entry}: hidden, so no class" for entry in junk]
    if loose:
        findings.notes.append(f"{root}: {len(loose)} pictures in no class folder ({loose[0].name}, …) are not used")
    return list_folders(root)


def find_home(root: Path) -> Path:
    """The folder that holds the classes or splits: `root`, or the one that all of it lies in (`root/data/train`)."""
    folder = root
    while True:
        folders = list_folders(folder)
        if len(folders) > 1 or any(is_split_name(below.name) and list_folders(below) for below in folders):
            return folder
        if not folders or is_split_name(folders[0].name) or any(map(_is_image, _entries(folder))):
            return root
        folder = folders[0]
        if any(map(_is_image, _entries(folder))):
            return root


def has_folders(folder: Path) -> bool:
    """Whether it can hold classes; without folders in it `train` is a class, of railways perhaps."""
    try:
        return bool(list_folders(folder))
    except DataError:
        return False  # which is told where its images are looked for


def name_splits(root: Path, names: Sequence[str]) -> dict[str, str]:
    """The folders of splits by the split's name.

    Raises:
        DataError: two folders for one split.
    """
    found: dict[str, str] = {}
    for name in names:
        split = SPLIT_NAMES[name.lower()]
        if split in found:
            raise DataError(f"{root}: {found[split]} and {name} are both the {split} split; keep one of them")
        found[split] = name
    return found


def splits_in_classes(root: Path, folders: Sequence[Path]) -> dict[str, dict[str, Path]]:
    """The folder of every split in every class where splits lie in the classes (`cat/train`); else empty.

    Raises:
        DataError: some classes are divided and others are not, or the classes themselves are called after splits.
    """
    if len(folders) > 1 and all(is_split_name(folder.name) and not has_folders(folder) for folder in folders):
        names = " and ".join(folder.name for folder in folders)
        raise DataError(f"{root}: {names} are called after splits, but have no class folders in them; make one a class")
    inside = {folder: list_folders(folder) for folder in folders if has_folders(folder)}
    divided = [folder for folder, below in inside.items() if all(is_split_name(each.name) for each in below)]
    whole = [folder for folder in folders if folder not in divided or any(map(_is_image, _entries(folder)))]
    if not divided:
        return {}
    if whole:
        seen = ", ".join(each.name for each in inside[divided[0]])
        raise DataError(f"{divided[0]}: is divided into {seen}, but {whole[0]} is not; divide every class or none")
    by_class = {folder: name_splits(folder, [each.name for each in inside[folder]]) for folder in divided}
    return {
        folder.name: {split: folder / name for split, name in splits.items()} for folder, splits in by_class.items()
    }


def find_classes(
    root: Path, folders: Sequence[Path], findings: Findings, known: Sequence[str] = ()
) -> dict[str, list[Path]]:
    """The images of every class in class folders, in natural order; images of folders in folders are not mixed.

    A folder with images of its own is a class, with everything below it. Where a folder holds only folders, each with
    images is a class of its own, called after the path to it: `animals/cat`; but where no folder holds several, all
    are called after the first folder (`cat` for `cat/images`). `known` are the classes of another split.
    """
    images = {folder: find_images(folder) for folder in folders}
    homes = {folder: _top_homes(found) for folder, found in images.items()}
    nested = any(len(found) > 1 for found in homes.values()) or any("/" in name for name in known)
    classes: dict[str, list[Path]] = {}
    for folder, found in homes.items():
        if not nested or not found or found == [folder]:
            classes[folder.name] = images[folder]
            continue
        inside = {home: [image for image in images[folder] if image.is_relative_to(home)] for home in found}
        classes |= {home.relative_to(root).as_posix(): own for home, own in inside.items()}
    many = [name for name in classes if "/" in name]
    if many:
        more = ", …" if len(many) > _NAMED else ""
        findings.notes.append(f"{root}: folders in folders are classes: {', '.join(many[:_NAMED])}{more}")
    for name, own in classes.items():
        direct = {folder for found in homes.values() for folder in found}
        below = sum(image.parent not in direct for image in own)
        if below:
            findings.notes.append(f"{root / name}: {below} pictures in folders below it are of class {name}, too")
    return classes


def match_class(name: str, known: Sequence[str]) -> str | None:
    """The known class that a class found elsewhere belongs to: of its own name, or of a folder that it lies in."""
    path = Path(name)
    return next((each.as_posix() for each in (path, *path.parents) if each.as_posix() in known), None)


def _top_homes(images: Sequence[Path]) -> list[Path]:
    """Folders that hold images directly, but for those that lie in another of them."""
    # What stands for a folder that cannot be listed is called as no image is.
    homes = {image.parent if has_image_suffix(image) else image for image in images}
    return [home for home in sorted(homes, key=natural_key) if not any(above in homes for above in home.parents)]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir(), key=natural_key)
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from error


def _is_image(entry: Path) -> bool:
    return has_image_suffix(entry) and not is_junk(entry.name) and not is_folder(entry)
