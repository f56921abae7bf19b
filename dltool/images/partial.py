"""Files that are cut short, of which what can be decoded is wanted; others are refused as ever meanwhile."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import ImageFile


class _Gate:
    """Lets either any number of threads decode strictly, or one of them decode what it can.

    Pillow has one switch for all threads; one that decodes strictly must never see it on.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._strict = self._waiting = 0
        self._lenient = False
        self._wanted: set[str] = set()

    def allow(self, path: Path | str) -> None:
        """From now on, decode of this file what can be."""
        with self._condition:
            self._wanted.add(str(path))

    @contextmanager
    def decoding(self, path: Path | str) -> Iterator[bool]:
        """Wait for one's turn; whether it is one of those files."""
        with self._condition:
            lenient = str(path) in self._wanted
            if lenient:
                self._waiting += 1
                self._condition.wait_for(lambda: not self._strict and not self._lenient)
                self._waiting -= 1
                self._lenient = ImageFile.LOAD_TRUNCATED_IMAGES = True
            else:
                self._condition.wait_for(lambda: not self._lenient and not self._waiting)
                self._strict += 1
        try:
            yield lenient
        finally:
            with self._condition:
                if lenient:
                    self._lenient = ImageFile.LOAD_TRUNCATED_IMAGES = False
                else:
                    self._strict -= 1
                self._condition.notify_all()


_GATE = _Gate()
allow_partial = _GATE.allow
decoding = _GATE.decoding
