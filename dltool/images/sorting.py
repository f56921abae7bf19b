"""Putting files into folders by what was found out about them; free of torch, so that help pages can name the ways."""

import contextlib
import os
import shutil
from enum import StrEnum
from pathlib import Path

from dltool import outputs
from dltool.errors import DltoolError
from dltool.files import make_way, partial_path


class SortBy(StrEnum):
    """How a file gets into the folder that it is sorted into: as a copy, or as a relative symbolic link."""

    COPY = "copy"
    LINK = "link"


def place_file(source: Path, target: Path, way: SortBy) -> None:
    """Copy or link `source` to `target`, whose folder is made; the original stays where it is.

    What stands at `target` is replaced, at once and as a whole: to look there first is the caller's part.

    Raises:
        DltoolError: it cannot be written there.
    """
    partial = partial_path(target)
    try:
        make_way(partial)
        partial.unlink(missing_ok=True)
        if way is SortBy.LINK:
            partial.symlink_to(_way_to(source.resolve(), target.parent.resolve()))
        else:
            shutil.copy2(source, partial)
        outputs.record(target)
        partial.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if not isinstance(error, OSError):
            raise
        raise DltoolError(f"{target}: cannot be written ({error.strerror or error})") from error


def _way_to(file: Path, folder: Path) -> str | Path:
    """A file as seen from a folder, or from anywhere where they are on different drives of Windows."""
    try:
        return os.path.relpath(file, folder)
    except ValueError:
        return file
