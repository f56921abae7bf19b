"""Writing the page of a run, of whatever kind it is."""

from collections.abc import Callable, Generator
from importlib import import_module
from pathlib import Path

from dltool import outputs
from dltool.errors import DataError, DltoolError
from dltool.files import write_atomically
from dltool.images.folder import PAGE_NAME
from dltool.pages.album import Album, PageStep
from dltool.pages.record import RECORD
from dltool.pages.render import GENERATOR, Page, render
from dltool.pages.run_files import read_json

WATCH_SECONDS = 5
# The module that reads the runs of each command; it is imported when one is read.
_READERS = {
    "cluster": "cluster_page",
    "cluster --duplicates": "duplicates_page",
    "finetune": "classifier_page",
    "evaluate": "classifier_page",
    "gan train": "generator_page",
    "ae train": "autoencoder_page",
    "stylize": "before_after_page",
    "featmap": "featmap_page",
}
_HEAD = 2000


def write_page(run: Path, single_file: bool = False, watch: bool = False) -> Generator[PageStep, None, Path]:
    """Make `index.html` of a run's files, and beside it `index_files/` with thumbnails.

    The page is replaced at once, when all of it is there; an `index.html` that dltool did not write is left alone.

    Args:
        single_file: put the images into the page, so that it can be sent as one file.
        watch: the run is under way, and browsers shall read the page again every few seconds.

    Returns:
        The page's path.

    Raises:
        DataError: the folder holds no run, or one whose files are damaged.
        DltoolError: the page cannot be written.
    """
    path = run / PAGE_NAME
    _check_own(path)
    read = _reader(command_of(run))
    album = Album(run, single_file)
    if outputs.is_marked(run):
        outputs.claim(run)
    try:
        page = yield from read(run, album)
        text = render(page, WATCH_SECONDS if watch else None)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{run}: no page can be made of its files ({type(error).__name__}: {reason})") from error
    write_atomically(path, text.encode(errors="replace"))
    album.remove_unused()
    return path


def command_of(run: Path) -> str:
    """The command that wrote a folder.

    Raises:
        DataError: none of which there are pages.
    """
    for name in ("results.json", "config.json", RECORD):
        command = read_json(run / name).get("command")
        if command in _READERS:
            return command
    if (run / "clusters.json").is_file():
        return "cluster"
    if (run / "duplicates.json").is_file():
        return "cluster --duplicates"
    if (run / "manifest.json").is_file():
        return "featmap"
    if not run.is_dir():
        raise DataError(f"{run}: no such folder")
    raise DataError(f"{run}: no run that a page can show; it has none of results.json, clusters.json, manifest.json")


def _reader(command: str) -> Callable[[Path, Album], Generator[PageStep, None, Page]]:
    return import_module(f"dltool.pages.{_READERS[command]}").read_page


def has_page(folder: Path) -> bool:
    """Whether dltool made a page of this folder."""
    return _is_own(folder / PAGE_NAME) is True


def _check_own(path: Path) -> None:
    """Raise DltoolError where a page stands that somebody else made."""
    if _is_own(path) is False:
        raise DltoolError(f"{path}: dltool did not write it, so it is left alone; move it away")


def _is_own(path: Path) -> bool | None:
    """Whether dltool made a page; None if there is none."""
    try:
        with path.open("rb") as file:
            return GENERATOR.encode() in file.read(_HEAD)
    except FileNotFoundError:
        return None
    except OSError:
        return False
