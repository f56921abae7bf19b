"""The images of a page: thumbnails in a folder beside it, or inside it, and the run's own image files."""

import base64
import hashlib
import io
import os
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from dltool import outputs
from dltool.errors import DltoolError
from dltool.files import make_way, partial_path
from dltool.images.folder import PAGE_FOLDER
from dltool.images.stream import read_ahead
from dltool.pages.originals import Originals

_SIDE = 160
# Images of no more pixels than this are shown with their pixels as squares.
TINY = 64
_QUALITY = 82
_OWN_NAME = re.compile(r"[0-9a-f]{16}\.(jpg|png)")
_TYPES = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".gif": "gif", ".webp": "webp"}


@dataclass(frozen=True)
class PageStep:
    """`done` of `total` images of a page are there."""

    done: int
    total: int


class Album:
    """Gives the addresses that images have in the page of `run`.

    Args:
        inside: images are part of the page, as `data:` addresses.
    """

    def __init__(self, run: Path, inside: bool = False, workers: int = 2) -> None:
        self.run = run
        self.inside = inside
        self._workers = workers
        self._used: set[str] = set()

    def thumbnails(
        self, names: Sequence[str], originals: Originals, side: int = _SIDE
    ) -> Generator[PageStep, None, list[str]]:
        """Make a thumbnail of each image that has none newer than its file; return their addresses.

        Of an image that cannot be read any more the older thumbnail is taken, else its address is empty.

        Args:
            side: pixels of the longer side; smaller images keep their size.

        Raises:
            DltoolError: a thumbnail cannot be written.
        """
        known: dict[str, str] = {}
        wanted = list(dict.fromkeys(names))
        made = read_ahead(wanted, lambda name: self._thumbnail(name, originals, side), self._workers)
        for number, (name, address) in enumerate(made, start=1):
            if isinstance(address, DltoolError):
                raise address
            known[name] = address
            yield PageStep(number, len(wanted))
        return [known[name] for name in names]

    def add(self, name: str, pixels: np.ndarray, side: int = _SIDE) -> str:
        """Put H × W × 3 uint8 pixels into the page under a name of the caller's; return their address.

        Raises:
            DltoolError: the file cannot be written.
        """
        return self._keep(name, *_encode(pixels, side))

    def own(self, path: Path) -> str:
        """The address of an image file in the run's folder; empty if it is not there."""
        try:
            if self.inside:
                kind = _TYPES.get(path.suffix.lower(), "png")
                return _data_address(kind, path.read_bytes())
            return address_of(path.relative_to(self.run)) if path.is_file() else ""
        except OSError:
            return ""

    def remove_unused(self) -> None:
        """Remove thumbnails that the page no longer shows, and no other file."""
        folder = self.run / PAGE_FOLDER
        try:
            for path in list(folder.iterdir()) if folder.is_dir() else []:
                if _OWN_NAME.fullmatch(path.name) and path.name not in self._used:
                    path.unlink()
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        except OSError:
            pass  # what is left over harms nobody

    def _thumbnail(self, name: str, originals: Originals, side: int) -> str:
        older = self._older(name, originals.path(name))
        if older is not None:
            return self._keep(name, older.suffix, older.read_bytes())
        try:
            pixels = originals.read(name, side)
        except DltoolError:
            return ""
        return self.add(name, pixels, side)

    def _older(self, name: str, original: Path | None) -> Path | None:
        """An earlier thumbnail that still shows the image."""
        for suffix in (".jpg", ".png"):
            path = self.run / PAGE_FOLDER / (_digest(name) + suffix)
            if path.is_file() and (original is None or original.stat().st_mtime <= path.stat().st_mtime):
                return path
        return None

    def _keep(self, name: str, suffix: str, content: bytes) -> str:
        if self.inside:
            return _data_address(_TYPES[suffix], content)
        file = _digest(name) + suffix
        self._used.add(file)
        path = self.run / PAGE_FOLDER / file
        if not path.is_file() or path.read_bytes() != content:
            _write(path, content)
        return f"{PAGE_FOLDER}/{file}"


def address_of(path: Path) -> str:
    """A relative path as a page's address, whatever letters or bytes are in it."""
    return quote(os.fsencode(path.as_posix()))


def _digest(name: str) -> str:
    return hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=8).hexdigest()


def _data_address(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _encode(pixels: np.ndarray, side: int) -> tuple[str, bytes]:
    """Suffix and content: tiny images keep every pixel, others become JPEGs of at most `side` pixels."""
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    if max(image.size) <= TINY:
        image.save(buffer, "PNG", optimize=True)
        return ".png", buffer.getvalue()
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    image.save(buffer, "JPEG", quality=_QUALITY)
    return ".jpg", buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    """Write a thumbnail; unlike other files it need not be on the disk when this returns, for it can be made again."""
    partial = partial_path(path)
    try:
        make_way(partial)
        partial.write_bytes(content)
        outputs.record(path)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DltoolError(f"{path}: cannot be written ({error.strerror or error})") from error
