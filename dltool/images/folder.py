"""From the files and folders that a user names to pairs of input and output, before any work starts."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from dltool import outputs
from dltool.errors import DataError, SettingsError
from dltool.images.formats import WRITABLE, has_image_suffix, image_format, missing_reader

Item = TypeVar("Item")

# Folders that systems leave in archives and on shares; files in them are called like images, and nobody means them.
_JUNK_FOLDERS = frozenset({"__macosx", "@eadir", "#recycle", "$recycle.bin"})
_JUNK_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})
_KINDS_NAMED = 5


class OnExisting(StrEnum):
    """What to do about an output that is already there."""

    ERROR = "error"
    OVERWRITE = "overwrite"
    SKIP = "skip"


@dataclass(frozen=True)
class Job:
    """One image to read and the file to write for it.

    Attributes:
        output: None where nothing is written for this image alone.
        exists: that file is there and shall be kept.
        variant: which of several outputs of the same input this is; empty where there is one.
    """

    input: Path
    output: Path | None = None
    exists: bool = False
    variant: str = ""


def process_rank() -> tuple[int, int]:
    """Number of this process and how many there are, as torchrun sets them; 0 of 1 without it."""
    rank, count = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    if not (rank.isdigit() and count.isdigit() and int(rank) < int(count)):
        return 0, 1
    return int(rank), int(count)


def own_share(items: Sequence[Item]) -> Sequence[Item]:
    """What this process of those that torchrun started is to do of a list that all of them have; else all of it."""
    rank, count = process_rank()
    return items[rank::count]


# Beside a page of dltool's, the thumbnails that it shows.
PAGE_NAME, PAGE_FOLDER = "index.html", "index_files"


def find_images(folder: Path, exclude: Path | None = None) -> list[Path]:
    """Every image file below `folder`, by suffix, in natural order (`2.jpg` before `10.jpg`).

    Hidden files and folders, and what systems leave behind (`__MACOSX`), are skipped, links to folders are followed
    once, and nothing below `exclude` is returned, so that outputs written inside an input folder are not read again.
    What cannot be read as an image though it is called one, links to nothing and pipes among them, and a folder below
    that cannot be listed, are returned, too, so that whoever reads them names them.

    Raises:
        DataError: `folder` itself cannot be listed.
    """
    excluded = _real(exclude) if exclude is not None else None
    # Names that differ by case or leading zeros alone have an order, too: processes that share a folder out need one.
    found = (path for path, is_read in _walk(folder, excluded, set()) if is_read)
    return sorted(found, key=lambda path: (natural_key(path), path.parts))


def find_unread(folder: Path, exclude: Path | None = None) -> list[Path]:
    """Every file below `folder` that `find_images` passes over because of its kind, in natural order.

    Raises:
        DataError: `folder` itself cannot be listed.
    """
    excluded = _real(exclude) if exclude is not None else None
    found = (path for path, is_read in _walk(folder, excluded, set()) if not is_read)
    return sorted(found, key=lambda path: (natural_key(path), path.parts))


def describe_unread(unread: Sequence[Path]) -> str:
    """`12 files of a kind that is not read: .heic`; empty for none."""
    if not unread:
        return ""
    kinds = [kind for kind, _ in Counter(path.suffix.lower() or "no suffix" for path in unread).most_common()]
    named = ", ".join(kinds[:_KINDS_NAMED]) + (", …" if len(kinds) > _KINDS_NAMED else "")
    hint = next(filter(None, map(missing_reader, kinds)), "")
    return f"{len(unread)} file{'s' if len(unread) > 1 else ''} of a kind that is not read: {named}{hint}"


def unread_among(inputs: Sequence[Path], exclude: Path | None = None) -> str:
    """`describe_unread` of all folders among `inputs`; a file that is named is read whatever its kind."""
    folders = [path for path in inputs if is_folder(path)]
    return describe_unread([file for folder in folders for file in find_unread(folder, exclude)])


def no_images(folder: Path, exclude: Path | None = None) -> DataError:
    """The error for a folder without images, which names what is there instead."""
    unread = describe_unread(find_unread(folder, exclude))
    return DataError(f"{folder}: no pictures in this folder{f'; {unread}' if unread else ''}")


def is_junk(name: str) -> bool:
    """Whether a folder or file of this name is hidden, or is one that systems leave behind, so that nobody means it."""
    return name.startswith(".") or name.lower() in _JUNK_FOLDERS or name.lower() in _JUNK_FILES


def list_images(inputs: Sequence[Path], exclude: Path | None = None) -> list[tuple[Path, Path]]:
    """Every image of files and folders, once, with its path relative to the folder that was given.

    Raises:
        DataError: an input is missing, or a folder holds no image.
    """
    found: dict[str, tuple[Path, Path]] = {}
    for path in inputs:
        _check_is_there(path)
        if is_folder(path):
            images = find_images(path, exclude)
            if not images:
                raise no_images(path, exclude)
            for image in images:
                found.setdefault(_real(image), (image, image.relative_to(path)))
        else:
            found.setdefault(_real(path), (path, Path(path.name)))
    return list(found.values())


def natural_key(path: Path) -> list[list[tuple[int, int | str]]]:
    """Sort key that compares folder by folder, digits as numbers and letters without case."""
    return [
        [(0, int(piece)) if piece.isdecimal() else (1, piece) for piece in re.split(r"(\d+)", part.lower())]
        for part in path.parts
    ]


def is_folder(path: Path) -> bool:
    """Whether there is a folder at `path`; False, too, where that cannot be told (a name too long, no permission)."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _is_there(path: Path, follow: bool = True) -> bool:
    try:
        path.stat() if follow else path.lstat()
    except (OSError, ValueError):
        return False
    return True


def _check_is_there(path: Path) -> None:
    """Raise DataError where nothing is called `path`; a link to nothing fails when it is read, as one file of many."""
    if not _is_there(path, follow=False):
        raise DataError(f"{path}: no such file or folder")


def _real(path: Path) -> str:
    """The path without links; unlike `Path.resolve` it does not fail on one that leads back to itself."""
    return os.path.realpath(path)


def _walk(folder: Path, excluded: str | None, seen: set[str]) -> Iterator[tuple[Path, bool]]:
    """Files below `folder` that are not junk, and whether each is to be read as an image."""
    real = _real(folder)
    if real == excluded or real in seen:
        return
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        if seen:
            yield folder, True
            return
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from error
    seen.add(real)
    has_page = any(entry.name == PAGE_NAME for entry in entries)
    for entry in entries:
        if is_junk(entry.name) or (entry.name == PAGE_FOLDER and has_page):
            continue
        path = Path(entry)
        if is_folder(path):
            yield from _walk(path, excluded, seen)
        else:
            yield path, has_image_suffix(path)


def plan_outputs(
    inputs: Sequence[Path],
    output: Path,
    suffix: str,
    on_existing: OnExisting,
    protected: Sequence[Path] = (),
    variants: Sequence[str] = (),
) -> list[Job]:
    """Pair every image of `inputs` (files and folders) with the file to write.

    `output` is a file when one file is given and it has an image's suffix, else a folder, in which the sub-folders
    of an input folder are mirrored. Names that would collide keep the input's suffix (`a.jpg.png`), and images of
    several input folders go below the folder's own name. No output may be an input or one of the `protected` files,
    and in a folder only what dltool wrote there is replaced.
    With `variants` every image has an output for each, named `image__variant`, and the jobs are in the order of
    the variants. Under torchrun each process is given its share of the jobs; outputs of the others may appear while
    they work.

    Raises:
        DataError: an input is missing or holds no image.
        SettingsError: outputs exist (with OnExisting.ERROR), would overwrite an input, cannot be told apart, or
            cannot be written where they shall be.
    """
    for path in inputs:
        _check_is_there(path)
    is_file = output.suffix.lower() in WRITABLE and not is_folder(output)
    if is_file and (len(inputs) > 1 or is_folder(inputs[0])):
        raise SettingsError(f"-o {output}: several pictures need a folder, not a file")
    if is_file and variants:
        raise SettingsError(f"-o {output}: a picture for each of several variants needs a folder, not a file")
    if is_file:
        pairs = [(inputs[0], output)]
    else:
        if output.suffix and not _is_there(output) and len(inputs) == 1 and not is_folder(inputs[0]):
            image_format(output)  # "-o photo.xyz" is a mistyped file name rather than a folder
        pairs = [(path, output / relative) for path, relative in _mirrored(inputs, output, suffix)]
    _check_place(output.parent if is_file else output)
    triples = [
        (image, target.with_name(f"{target.stem}__{variant}{target.suffix}") if variant else target, variant)
        for variant in variants or [""]
        for image, target in pairs
    ]
    jobs = _check_outputs(triples, on_existing, protected)
    if not is_file:
        claim_results(output, jobs)
    return jobs


def claim_results(folder: Path, jobs: Sequence[Job], beside: Sequence[Path] = ()) -> None:
    """Have a folder's list name what the jobs will write into it.

    Args:
        beside: what is written beside the jobs' outputs.

    Raises:
        SettingsError: what they would replace is not dltool's.
    """
    replaced = [job.output for job in jobs if job.output is not None and not job.exists]
    outputs.refuse_foreign("-o", folder, [*replaced, *beside])
    outputs.claim(folder)


def plan_file(path: Path, output: Path, on_existing: OnExisting, protected: Sequence[Path] = ()) -> list[Job]:
    """Pair one file with the file to write, whatever its kind.

    Raises:
        DataError: the input is missing.
        SettingsError: the output exists (with OnExisting.ERROR), is the input or protected, or is a folder.
    """
    _check_is_there(path)
    _check_place(output.parent)
    return _check_outputs([(path, output, "")], on_existing, protected, shared=False)


def _mirrored(inputs: Sequence[Path], output: Path, suffix: str) -> list[tuple[Path, Path]]:
    """Every image with its output's path relative to the output folder."""
    several_folders = sum(is_folder(path) for path in inputs) > 1
    found: list[tuple[Path, Path]] = []
    for path in inputs:
        if is_folder(path):
            if _real(output) == _real(path):
                raise SettingsError(f"-o {output}: is the input folder itself; choose another")
            images = find_images(path, exclude=output)
            if not images:
                raise no_images(path, output)
            prefix = Path(Path(_real(path)).name) if several_folders else Path()
            found += [(image, prefix / image.relative_to(path)) for image in images]
        else:
            found.append((path, Path(path.name)))
    first: dict[str, tuple[Path, Path]] = {}
    for image, relative in found:
        first.setdefault(str(image.absolute()), (image, relative))
    found = list(first.values())
    taken = Counter(relative.with_suffix(suffix) for _, relative in found)
    return [
        (
            image,
            relative.with_suffix(suffix)
            if taken[relative.with_suffix(suffix)] == 1
            else _keep_suffix(relative, suffix),
        )
        for image, relative in found
    ]


def _keep_suffix(relative: Path, suffix: str) -> Path:
    return relative.with_name(relative.name + suffix)


def _check_place(folder: Path) -> None:
    """Raise SettingsError if `folder` neither is one that can be written to nor can be made."""
    existing = folder
    while not _is_there(existing) and existing != existing.parent:
        existing = existing.parent
    if not is_folder(existing):
        raise SettingsError(f"-o {folder}: {existing} is a file, not a folder")
    if not os.access(existing, os.W_OK):
        raise SettingsError(f"-o {folder}: {existing} cannot be written to")


def _check_outputs(
    triples: Sequence[tuple[Path, Path, str]],
    on_existing: OnExisting,
    protected: Sequence[Path],
    shared: bool = True,
) -> list[Job]:
    owners: dict[Path, Path] = {}
    read = {_real(path) for path in [*protected, *outputs.protected(), *(image for image, _, _ in triples)]}
    folders = [os.path.join(_real(path), "") for path in protected if is_folder(path)]  # noqa: PTH118 (ends with a /)
    for image, target, _ in triples:
        if target in owners:
            raise SettingsError(f"{owners[target]} and {image} would both be written to {target}; run them apart")
        owners[target] = image
        if _real(target) in read or (_is_there(target) and any(_real(target).startswith(each) for each in folders)):
            raise SettingsError(f"{target}: the output would overwrite an input; choose another -o")
        if is_folder(target):
            raise SettingsError(f"{target}: a folder stands where the output would be written")
    triples = own_share(triples) if shared else triples
    jobs = [Job(image, target, _is_there(target), variant) for image, target, variant in triples]
    existing = [job.output for job in jobs if job.exists]
    if existing and on_existing is OnExisting.ERROR:
        others = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise SettingsError(f"{existing[0]}{others}: output exists; give --overwrite or --skip-existing")
    if on_existing is OnExisting.OVERWRITE:
        return [replace(job, exists=False) for job in jobs]
    return jobs
