"""Writing files so that a reader never sees half of one and a crash never destroys the old one."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dltool.errors import DltoolError


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` as `open_atomically` does.

    Raises:
        DltoolError: the file cannot be written; the message names it.
    """
    with open_atomically(path) as file:
        file.write(content)


@contextlib.contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """Give a file under a temporary name beside `path`, and rename it at the end; missing folders are made.

    The temporary name is hidden and this process's own. What processes that were killed left behind for the same
    target is removed. If the context is left by an error, nothing is written.

    Raises:
        DltoolError: the file cannot be written; the message names it.
    """
    # A digest, because the target's name may be as long as a name can be.
    stem = f".{hashlib.blake2b(path.name.encode(errors='surrogateescape'), digest_size=8).hexdigest()}"
    partial = path.with_name(f"{stem}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent, stem)
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):
            raise DltoolError(f"{path}: cannot be written ({error.strerror or error})") from error
        raise


def _remove_leftovers(folder: Path, stem: str) -> None:
    for leftover in folder.glob(f"{stem}.*.part"):
        process = leftover.name.split(".")[-2]
        if process.isdigit() and int(process) != os.getpid() and not _is_running(int(process)):
            leftover.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    if os.name != "posix":
        return True  # there, signal 0 would end the process that is asked about
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
