"""What a command may write where: never over what it reads, and in folders only over what dltool wrote itself.

A folder that a command fills has a hidden list, `.dltool.jsonl`, of what this command and its continuations wrote into
it: a line of JSON about the command, then one path a line. `--overwrite` removes or replaces what is listed and nothing
else. Folders of results, one for each image, may hold other files, too; they are claimed when the work is planned, and
listed from the first file on that is written.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dltool import __version__
from dltool.errors import DltoolError, SettingsError

MARKER = ".dltool.jsonl"
LOCK = ".dltool.lock"
PREVIOUS = ".previous"
TABLES = (".csv", ".tsv", ".txt")
_PARTIAL = ".part"
_MODEL = "model.safetensors"
# Fields of settings that hold what is read as a text, because it may be a name as well.
_READ_AS_TEXT = ("source", "weights", "fid_weights", "init", "data")

# Folders that this process fills, with what their lists hold; `record` finds a file's folder here.
_filled: dict[Path, set[str]] = {}
# Folders that will be filled from the first file on that is written.
_claimed: set[Path] = set()
# What the command line itself reads: a file of settings, a recipe.
_protected: set[Path] = set()
_command = ""


def begin(command: str) -> None:
    """Forget what an earlier command of this process filled and read; `command` is what folders are listed for."""
    global _command
    _command = command
    for known in (_filled, _claimed, _protected):
        known.clear()


def protect(path: Path) -> None:
    """Let no output of the command be this file."""
    _protected.add(path)


def protected() -> list[Path]:
    """The files that the command line itself reads."""
    return list(_protected)


def files_read(*settings: object, without: Sequence[str] = ()) -> list[Path]:
    """Every path that dataclasses of settings hold, but for the fields of names in `without`, which are written."""
    found: list[Path] = []
    for group in settings:
        for name, value in vars(group).items():
            if name in without:
                continue
            if name == "model" and isinstance(value, Path) and (value / _MODEL).is_file():
                value = value / _MODEL  # of a run's folder nothing else is read
            values = value if isinstance(value, tuple) else (value,)
            found += [one for one in values if isinstance(one, Path)]
            if name in _READ_AS_TEXT and isinstance(value, str) and value:
                found.append(Path(value))
    return found


def check_file(
    option: str,
    path: Path,
    overwrite: bool,
    read: Iterable[Path] = (),
    suffixes: Sequence[str] = (),
    hint: str = "give --overwrite",
) -> None:
    """See that one file that is named by an option may be written.

    Args:
        read: files and folders that the command reads.
        suffixes: of the kinds of file that may be replaced, in lower case; none for all.

    Raises:
        SettingsError: it is a folder, is read or lies among what is read, exists without `overwrite`, or is of a kind
            that dltool doesn't write there.
    """
    if path.is_dir():
        raise SettingsError(f"{option} {path}: a folder, but a file is needed")
    if not path.exists() and not path.is_symlink():
        return
    real = path.resolve()
    for one in [*read, *_protected]:
        if one.resolve() == real:
            raise SettingsError(f"{option} {path}: the output would overwrite an input; choose another name")
        if one.is_dir() and real.is_relative_to(one.resolve()):
            raise SettingsError(f"{option} {path}: would overwrite a file inside {one}, which is read; choose another")
    if suffixes and path.suffix.lower() not in suffixes:
        kinds = " or ".join(suffixes)
        raise SettingsError(f"{option} {path}: exists and is no {kinds} file, so it is not replaced; choose another")
    if not overwrite:
        raise SettingsError(f"{option} {path}: output exists; {hint}")


def check_folder(
    option: str,
    folder: Path,
    overwrite: bool,
    read: Iterable[Path] = (),
    older: bool = False,
    hint: str = "give --overwrite or choose another",
) -> None:
    """See that a folder may be filled.

    Args:
        read: files and folders that the command reads; none may be the folder, or lie in it.
        older: whether it holds what a dltool without lists wrote.
        hint: what to do about a result that is there.

    Raises:
        SettingsError: it is a file, holds what is read, or holds something that may not give way.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{option} {folder}: a file, but a folder is needed")
    if not folder.is_dir():
        return
    real = folder.resolve()
    for one in [*read, *_protected]:
        if one.exists() and one.resolve().is_relative_to(real):
            relation = "is what is read" if one.resolve() == real else f"holds {one}, which is read"
            raise SettingsError(f"{option} {folder}: {relation}; choose another folder")
    if not holds_files(folder):
        return
    ours = older or (is_marked(folder) and not _is_shared(folder))
    if not overwrite:
        raise SettingsError(
            f"{option} {folder}: the folder exists and is not empty; {hint if ours else 'choose another'}"
        )
    if not ours:
        raise SettingsError(f"{option} {folder}: holds files that dltool did not write there; choose another folder")


def holds_files(folder: Path) -> bool:
    """Whether there is something in the folder beside what dltool hides in it."""
    own = (MARKER, LOCK, PREVIOUS)
    return any(
        entry.name not in own and not (entry.name.startswith(".") and entry.name.endswith(_PARTIAL))
        for entry in folder.iterdir()
    )


def is_marked(folder: Path) -> bool:
    """Whether a command filled this folder and listed what it wrote."""
    return (folder / MARKER).is_file()


def _is_shared(folder: Path) -> bool:
    """Whether the folder had files of others when dltool began to list its own."""
    try:
        with (folder / MARKER).open(encoding="ascii", errors="replace") as file:
            return json.loads(file.readline()).get("shared", False)
    except (OSError, ValueError, AttributeError):
        return False


def claim(folder: Path) -> None:
    """List what this process writes into the folder, from its first file on; nothing is written before.

    The folder may have other files, which `refuse_foreign` keeps.
    """
    real = folder.resolve()
    _filled.pop(real, None)
    _claimed.add(real)


def refuse_foreign(option: str, folder: Path, paths: Iterable[Path]) -> None:
    """Raise SettingsError if one of `paths`, which an output would replace, is there and dltool did not write it."""
    existing = [path for path in paths if path.exists() or path.is_symlink()]
    if not existing:
        return
    ours = is_listed(folder)
    foreign = [path for path in existing if not ours(path)]
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise SettingsError(
            f"{foreign[0]}{more}: dltool did not write this file into {folder}, so it is not replaced; "
            f"choose another {option}, or move it away"
        )


def is_listed(folder: Path) -> Callable[[Path], bool]:
    """What tells whether a path is in the folder's list."""
    known, listed = folder.resolve(), set(_listed(folder))

    def ours(path: Path) -> bool:
        real = path.parent.resolve() / path.name
        return real.is_relative_to(known) and str(real.relative_to(known)) in listed

    return ours


def mark(folder: Path, command: str, own: Iterable[Path] = ()) -> None:
    """Make the folder, and list from now on what this process writes into it.

    Args:
        own: what a dltool without lists wrote there, relative to the folder.

    Raises:
        DltoolError: it cannot be made, or written to.
    """
    real = folder.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for other in _filled:
            if other != real and real.is_relative_to(other):
                _append(other, str((real / MARKER).relative_to(other)))
        known = (real / MARKER).read_bytes() if is_marked(folder) else b""
        with (real / MARKER).open("a", encoding="ascii") as file:
            if not known:  # a process that was killed at once leaves an empty list, too
                about: dict[str, str | bool] = {"command": command, "version": __version__}
                if real in _claimed and holds_files(folder):
                    about["shared"] = True
                file.write(json.dumps(about) + "\n")
            elif not known.endswith(b"\n"):
                file.write("\n")  # half a line of a crash stays alone
        _filled[real] = set(_listed(real))
        for path in own:
            _append(real, str(path))
    except OSError as error:
        raise DltoolError(f"-o {folder}: cannot be written to ({error.strerror})") from error


def forget(folder: Path) -> None:
    """List no longer what this process writes into the folder; the list stays."""
    _filled.pop(folder.resolve(), None)


def record(path: Path) -> None:
    """List a file that is about to be written, if this process fills a folder that it lies in.

    Raises:
        OSError: the list cannot be written.
    """
    if not _filled and not _claimed:
        return
    real = path.parent.resolve() / path.name
    for folder in [claimed for claimed in list(_claimed) if real.is_relative_to(claimed)]:
        mark(folder, _command)
        _claimed.discard(folder)
    for folder in list(_filled):
        if real.is_relative_to(folder):
            _append(folder, str(real.relative_to(folder)))


def _append(folder: Path, name: str) -> None:
    if name in _filled.get(folder, ()) or not (folder / MARKER).is_file():
        return
    with (folder / MARKER).open("a", encoding="ascii") as file:
        file.write(json.dumps(name) + "\n")
    _filled[folder].add(name)


def written(folder: Path) -> list[Path]:
    """What the folder's list names and is there, relative to the folder; what leads out of it is left out."""
    found = []
    for name in dict.fromkeys(_listed(folder)):
        path = Path(name)
        target = folder / path
        if path.is_absolute() or ".." in path.parts or not path.parts:
            continue
        is_there = target.is_symlink() or target.is_file()
        if is_there and target.parent.resolve().is_relative_to(folder.resolve()):
            found.append(path)
    return found


def _listed(folder: Path) -> list[str]:
    """The paths in the list; a line that was cut short by a crash is no path."""
    try:
        lines = (folder / MARKER).read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
    names = []
    for line in lines:
        with contextlib.suppress(ValueError):
            name = json.loads(line)
            if isinstance(name, str):
                names.append(name)
    return names


def move(folder: Path, names: Iterable[Path], target: Path) -> None:
    """Move files of a folder into another one, and remove the sub-folders that this leaves empty.

    Raises:
        OSError: one cannot be moved.
    """
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).replace(target / name)
        _remove_empty(folder, name)


def remove(folder: Path, names: Iterable[Path]) -> None:
    """Remove files of a folder, and the sub-folders that this leaves empty.

    Raises:
        OSError: one cannot be removed.
    """
    for name in names:
        (folder / name).unlink(missing_ok=True)
        _remove_empty(folder, name)


def _remove_empty(folder: Path, name: Path) -> None:
    for parent in name.parents:
        if parent == Path() or not (folder / parent).is_dir() or any((folder / parent).iterdir()):
            return
        (folder / parent).rmdir()


def remove_hidden(folder: Path) -> None:
    """Remove what was set aside in the folder; nothing but `move` puts anything there."""
    shutil.rmtree(folder, ignore_errors=True)
