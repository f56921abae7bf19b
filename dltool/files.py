"""Writing files so that a reader never sees half of one and a crash never destroys the old one."""

import contextlib
import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dltool import outputs
from dltool.errors import DataError, DltoolError

try:
    import fcntl
except ImportError:
    fcntl = None

_PARTIAL_NAME = re.compile(r"\.[0-9a-f]{16}\.[0-9]+\.part")


def printable(text: object) -> str:
    """A text of one line as a terminal may have it: what is no character to be seen is escaped as Python does.

    Names of files may hold line ends, escape sequences, and bytes that are no UTF-8.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode("ascii")
        for letter in str(text)
    )


def check_regular(path: Path) -> None:
    """See that `path` is a file with content before it is opened: a pipe would wait for ever, a device never ends.

    Raises:
        DataError: it is something else; the message names it.
        OSError: there is nothing, it is a folder, or that cannot be told.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise DataError(f"{path}: not a regular file")


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
    partial = partial_path(path)
    try:
        make_way(partial)
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        outputs.record(path)
        partial.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):
            raise DltoolError(f"{path}: cannot be written ({error.strerror or error})") from error
        raise


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes that lock the same path waiting, so that it can be read, changed and written in one go.

    The lock is a hidden file beside `path`, gone at the end; the system releases it when a process is killed. Where
    there are no such locks (Windows) nothing is locked.

    Raises:
        DltoolError: the lock's file cannot be written.
    """
    if fcntl is None:
        yield
        return
    lock = path.with_name(f".{path.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = _lock_file(lock)
    except OSError as error:
        raise DltoolError(f"{lock}: cannot be locked ({error.strerror or error})") from error
    with file:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _lock_file(lock: Path) -> BinaryIO:
    while True:
        file = lock.open("ab")
        fcntl.flock(file, fcntl.LOCK_EX)
        # Whoever had it before has removed it: then others lock a new file of that name.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(lock.stat(), os.fstat(file.fileno())):
                return file
        file.close()


def remove_partial(folder: Path) -> None:
    """Remove what processes that were killed left half-written in a folder and its sub-folders."""
    for leftover in folder.rglob(".*.part"):
        if _PARTIAL_NAME.fullmatch(leftover.name) and not leftover.is_dir():
            _remove_dead(leftover)


def partial_path(path: Path) -> Path:
    """The temporary name beside `path` under which this process writes it: hidden, and never too long for the disk."""
    digest = hashlib.blake2b(path.name.encode(errors="surrogateescape"), digest_size=8).hexdigest()
    return path.with_name(f".{digest}.{os.getpid()}.part")


def make_way(partial: Path) -> None:
    """Make the folder of a `partial_path`, and remove what processes that were killed left behind for its target."""
    partial.parent.mkdir(parents=True, exist_ok=True)
    for leftover in partial.parent.glob(f".{partial.name.split('.')[1]}.*.part"):
        _remove_dead(leftover)


def _remove_dead(leftover: Path) -> None:
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
