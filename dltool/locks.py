"""One process at a time at work in a folder."""

import contextlib
import os
import weakref
from pathlib import Path
from typing import BinaryIO

from dltool.errors import DltoolError, SettingsError
from dltool.outputs import LOCK

try:
    import fcntl
except ImportError:
    fcntl = None


class FolderLock:
    """Keeps other processes out of a folder, as long as this object lives or until it is released.

    The system releases the lock when a process ends, however it ends; the next one takes it over then. Where there are
    no such locks (Windows) nobody is kept out. This process itself may lock a folder as often as it likes.
    """

    def __init__(self, file: BinaryIO | None, path: Path) -> None:
        self._path = path
        self._release = weakref.finalize(self, _release, file, path)

    def release(self) -> None:
        """Let others in."""
        if self._release.alive:
            _held.pop(self._path, None)
            self._release()


# By the lock's real path.
_held: weakref.WeakValueDictionary[Path, FolderLock] = weakref.WeakValueDictionary()


def lock_folder(option: str, folder: Path) -> FolderLock:
    """Lock a folder that is there.

    Raises:
        SettingsError: another process is at work in it; the message names the process.
        DltoolError: the lock's file cannot be written.
    """
    path = folder.resolve() / LOCK
    lock = _held.get(path)
    if lock is None or (fcntl is not None and not path.exists()):
        lock = FolderLock(_take(option, folder, path) if fcntl is not None else None, path)
        _held[path] = lock
    return lock


def refuse_busy(option: str, folder: Path) -> None:
    """Raise SettingsError if another process is at work in the folder, which need not be there."""
    if (folder / LOCK).is_file():
        lock_folder(option, folder)


def _take(option: str, folder: Path, path: Path) -> BinaryIO:
    while True:
        try:
            file = path.open("a+b")
        except OSError as error:
            raise DltoolError(f"{option} {folder}: cannot be written to ({error.strerror})") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            process = file.read(20).decode(errors="replace").strip()
            file.close()
            named = f"process {process}" if process.isdigit() else "another process"
            raise SettingsError(
                f"{option} {folder}: {named} is at work in this folder; wait for it, end it, or choose another folder"
            ) from None
        except OSError:
            return file  # a file system without locks
        # Whoever had it before has removed it: then others lock a new file of that name.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(file.fileno())):
                file.truncate(0)
                file.write(str(os.getpid()).encode())
                file.flush()
                return file
        file.close()


def _release(file: BinaryIO | None, path: Path) -> None:
    if file is None:
        return
    if os.getpid() == _owner(path):  # a forked process has the object, too
        path.unlink(missing_ok=True)
    file.close()


def _owner(path: Path) -> int | None:
    try:
        return int(path.read_bytes())
    except (OSError, ValueError):
        return None
