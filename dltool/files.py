"""Writing files so that a reader never sees half of one and a crash never destroys the old one."""

import contextlib
import os
from pathlib import Path

from dltool.errors import DltoolError


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to a temporary name beside `path`, then rename it; missing folders are made.

    The temporary name is hidden and always the same for one target, so that what a kill -9 leaves behind is taken
    over by the next run instead of piling up.

    Raises:
        DltoolError: the file cannot be written; the message names it.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise DltoolError(f"{path}: cannot be written ({error.strerror or error})") from error
