"""Predicting files: found, read ahead, answered in batches, sorted into folders."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dltool.errors import DltoolError, SettingsError
from dltool.images.folder import OnExisting
from dltool.images.stream import read_ahead

UNSURE = "unsure"
_BATCH = 16


@dataclass(frozen=True)
class Prediction:
    """Answer for one file: a probability for every class (a tensor), or the error that stopped it."""

    path: Path
    probabilities: object = None
    error: DltoolError | None = None


def predict_files(scorer: object, paths: Sequence[Path], workers: int, tta: bool) -> Iterator[Prediction]:
    """Yield a Prediction for every path, in order; `scorer` is a `dltool.finetune.score.Scorer`."""
    batches = [list(paths[start : start + _BATCH]) for start in range(0, len(paths), _BATCH)]

    def read(batch: list[Path]) -> list[np.ndarray | DltoolError]:
        pixels: list[np.ndarray | DltoolError] = []
        for path in batch:
            try:
                pixels.append(scorer.reader.read_file(path))
            except DltoolError as error:
                pixels.append(error)
        return pixels

    for batch, images in read_ahead(batches, read, workers):
        assert not isinstance(images, DltoolError)
        good = [p for p in images if not isinstance(p, DltoolError)]
        answers = iter(scorer.score_pixels(good, tta).softmax(1)) if good else iter(())
        for path, image in zip(batch, images, strict=True):
            if isinstance(image, DltoolError):
                yield Prediction(path, error=image)
            else:
                yield Prediction(path, probabilities=next(answers))


class Sorter:
    """Puts images into a folder for each class, sub-folders mirrored, nothing overwritten unasked."""

    def __init__(self, folder: Path, link: bool, threshold: float, on_existing: OnExisting) -> None:
        self._folder = folder
        self._link = link
        self._threshold = threshold
        self._on_existing = on_existing
        self._taken: set[Path] = set()

    def check(self, class_names: Sequence[str], images: Sequence[tuple[Path, Path]]) -> None:
        """Look for what would be in the way, before any work starts.

        Raises:
            SettingsError: an image might meet an output that exists, or a class is called as the folder of doubtful
                images is.
        """
        if self._threshold > 0 and any(name.lower() == UNSURE for name in class_names):
            raise SettingsError(f"--threshold: a class of the model is called '{UNSURE}' itself; leave it out")
        if self._on_existing is not OnExisting.ERROR or not self._folder.is_dir():
            return
        folders = [self._folder / name for name in (*class_names, UNSURE) if (self._folder / name).is_dir()]
        for folder in folders:
            for _, relative in images:
                if (folder / relative).exists():
                    raise SettingsError(f"{folder / relative}: output exists; give --overwrite or --skip-existing")

    def place(self, path: Path, relative: Path, probability: float, **prediction: str) -> tuple[Path, str]:
        """Copy or link `path` under its class; return where, and `done` or `skipped`.

        Raises:
            DltoolError: it cannot be written there.
        """
        name = prediction["class"] if probability >= self._threshold else UNSURE
        target = self._folder / name / relative
        number = 2
        while target in self._taken:
            target = target.with_name(f"{relative.stem}-{number}{relative.suffix}")
            number += 1
        self._taken.add(target)
        if target.exists() or target.is_symlink():
            if self._on_existing is OnExisting.SKIP:
                return target, "skipped"
            if target.resolve() == path.resolve() and not target.is_symlink():
                raise SettingsError(f"{target}: the output would overwrite an input")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.part")
            partial.unlink(missing_ok=True)
            if self._link:
                partial.symlink_to(os.path.relpath(path.resolve(), target.parent.resolve()))
            else:
                shutil.copy2(path, partial)
            partial.replace(target)
        except OSError as error:
            raise DltoolError(f"{target}: cannot be written ({error.strerror or error})") from error
        return target, "done"
