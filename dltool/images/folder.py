"""From the files and folders that a user names to pairs of input and output, before any work starts."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from dltool.errors import DataError, SettingsError
from dltool.images.formats import PICTURE_SUFFIXES, WRITABLE, picture_format


class OnExisting(StrEnum):
    """What to do about an output that is already there."""

    ERROR = "error"
    OVERWRITE = "overwrite"
    SKIP = "skip"


@dataclass(frozen=True)
class Job:
    """One picture to read and the file to write for it.

    Attributes:
        exists: that file is there and shall be kept.
        variant: which of several outputs of the same input this is; empty where there is one.
    """

    input: Path
    output: Path
    exists: bool = False
    variant: str = ""


def find_pictures(folder: Path, exclude: Path | None = None) -> list[Path]:
    """Every picture file below `folder`, by suffix, in natural order (`2.jpg` before `10.jpg`).

    Hidden files and folders are skipped, links to folders are followed once, and nothing below `exclude` is returned,
    so that outputs written inside an input folder are not read again.
    """
    excluded = exclude.resolve() if exclude is not None else None
    return sorted(_walk(folder, excluded, set()), key=natural_key)


def natural_key(path: Path) -> list[list[tuple[int, int | str]]]:
    """Sort key that compares folder by folder, digits as numbers and letters without case."""
    return [
        [(0, int(piece)) if piece.isdecimal() else (1, piece) for piece in re.split(r"(\d+)", part.lower())]
        for part in path.parts
    ]


def _walk(folder: Path, excluded: Path | None, seen: set[Path]) -> Iterator[Path]:
    real = folder.resolve()
    if real == excluded or real in seen:
        return
    seen.add(real)
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(folder / entry.name, excluded, seen)
        elif Path(entry.name).suffix.lower() in PICTURE_SUFFIXES:
            yield folder / entry.name


def plan_outputs(
    inputs: Sequence[Path],
    output: Path,
    suffix: str,
    on_existing: OnExisting,
    variants: Sequence[str] = (),
    share: tuple[int, int] = (0, 1),
) -> list[Job]:
    """Pair every picture of `inputs` (files and folders) with the file to write.

    `output` is a file when one file is given and it has a picture's suffix, else a folder, in which the sub-folders
    of an input folder are mirrored. Names that would collide keep the input's suffix (`a.jpg.png`), and pictures of
    several input folders go below the folder's own name. With `variants` every picture has an output for each, named
    `picture__variant`, and the jobs are in the order of the variants. `share` (part, of how many) is the part of the
    jobs to return; outputs of the other parts may appear while they work.

    Raises:
        DataError: an input is missing or holds no picture.
        SettingsError: outputs exist (with OnExisting.ERROR), would overwrite an input, or cannot be told apart.
    """
    for path in inputs:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
    is_file = output.suffix.lower() in WRITABLE and not output.is_dir()
    if is_file and (len(inputs) > 1 or inputs[0].is_dir()):
        raise SettingsError(f"-o {output}: several pictures need a folder, not a file")
    if is_file and variants:
        raise SettingsError(f"-o {output}: a picture for each of several variants needs a folder, not a file")
    if is_file:
        pairs = [(inputs[0], output)]
    else:
        if output.suffix and not output.exists() and len(inputs) == 1 and inputs[0].is_file():
            picture_format(output)  # "-o photo.xyz" is a mistyped file name rather than a folder
        pairs = [(path, output / relative) for path, relative in _mirrored(inputs, output, suffix)]
    if not variants:
        return _check_outputs([(picture, target, "") for picture, target in pairs], on_existing, share)
    triples = [
        (picture, target.with_name(f"{target.stem}__{variant}{target.suffix}"), variant)
        for variant in variants
        for picture, target in pairs
    ]
    return _check_outputs(triples, on_existing, share)


def plan_file(path: Path, output: Path, on_existing: OnExisting) -> list[Job]:
    """Pair one file with the file to write, whatever its kind.

    Raises:
        DataError: the input is missing.
        SettingsError: the output exists (with OnExisting.ERROR), is the input, or is a folder.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    return _check_outputs([(path, output, "")], on_existing, (0, 1))


def _mirrored(inputs: Sequence[Path], output: Path, suffix: str) -> list[tuple[Path, Path]]:
    """Every picture with its output's path relative to the output folder."""
    several_folders = sum(path.is_dir() for path in inputs) > 1
    found: list[tuple[Path, Path]] = []
    for path in inputs:
        if path.is_dir():
            pictures = find_pictures(path, exclude=output)
            if not pictures:
                raise DataError(f"{path}: no pictures in this folder")
            prefix = Path(path.resolve().name) if several_folders else Path()
            found += [(picture, prefix / picture.relative_to(path)) for picture in pictures]
        else:
            found.append((path, Path(path.name)))
    found = list({picture.resolve(): (picture, relative) for picture, relative in reversed(found)}.values())[::-1]
    taken = Counter(relative.with_suffix(suffix) for _, relative in found)
    return [
        (
            picture,
            relative.with_suffix(suffix)
            if taken[relative.with_suffix(suffix)] == 1
            else _keep_suffix(relative, suffix),
        )
        for picture, relative in found
    ]


def _keep_suffix(relative: Path, suffix: str) -> Path:
    return relative.with_name(relative.name + suffix)


def _check_outputs(
    triples: Sequence[tuple[Path, Path, str]], on_existing: OnExisting, share: tuple[int, int]
) -> list[Job]:
    owners: dict[Path, Path] = {}
    read = {picture.resolve() for picture, _, _ in triples}
    for picture, target, _ in triples:
        if target in owners:
            raise SettingsError(f"{owners[target]} and {picture} would both be written to {target}; run them apart")
        owners[target] = picture
        if target.resolve() in read:
            raise SettingsError(f"{target}: the output would overwrite an input; choose another -o")
        if target.is_dir():
            raise SettingsError(f"{target}: a folder stands where the output would be written")
    jobs = [
        Job(picture, target, target.exists(), variant) for picture, target, variant in triples[share[0] :: share[1]]
    ]
    existing = [job.output for job in jobs if job.exists]
    if existing and on_existing is OnExisting.ERROR:
        others = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise SettingsError(f"{existing[0]}{others}: output exists; give --overwrite or --skip-existing")
    if on_existing is OnExisting.OVERWRITE:
        return [replace(job, exists=False) for job in jobs]
    return jobs
