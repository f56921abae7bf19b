"""Predicting files: found, read ahead, answered in batches, sorted into folders, listed in a table."""

import csv
import io
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from dltool.errors import DltoolError, SettingsError
from dltool.files import write_atomically
from dltool.finetune.score import Scorer
from dltool.finetune.settings import PredictSettings
from dltool.images.folder import OnExisting, list_images
from dltool.images.sorting import SortBy, place_file
from dltool.images.stream import read_ahead

UNSURE = "unsure"
_BATCH = 16


@dataclass(frozen=True)
class Predicted:
    """What became of one image.

    Attributes:
        output: where it was sorted to.
        status: `done`, `skipped` where that stood already, or `failed`.
        answers: the classes asked for with their probabilities, the most probable first.
    """

    input: Path
    output: Path | None = None
    status: str = "done"
    error: DltoolError | None = None
    answers: tuple[tuple[str, float], ...] = ()


def plan_predictions(settings: PredictSettings, on_existing: OnExisting) -> list[tuple[Path, Path]]:
    """Every image that is to be predicted, with its path in the folder that was named.

    Raises:
        SettingsError: an output is in the way.
        DataError: an input is missing, or a folder holds no image.
    """
    table, folder = settings.csv_file, settings.sort
    if table is not None and table.is_dir():
        raise SettingsError(f"--csv {table}: a folder, but a file is needed")
    if table is not None and table.exists() and on_existing is not OnExisting.OVERWRITE:
        raise SettingsError(f"--csv {table}: output exists; give --overwrite")
    if folder is not None and folder.exists() and not folder.is_dir():
        raise SettingsError(f"--sort {folder}: a file, but a folder is needed")
    return list_images(settings.images, exclude=folder)


def predict_files(
    scorer: Scorer,
    settings: PredictSettings,
    images: Sequence[tuple[Path, Path]],
    on_existing: OnExisting,
    workers: int,
) -> Generator[Predicted, None, list[Predicted]]:
    """Yield what became of every image of `plan_predictions`, in order, and return all of it.

    Raises:
        SettingsError: before anything is done, as `Sorter.check` does.
    """
    sorter = new_sorter(settings, scorer.classifier.class_names, images, on_existing)
    done = []
    answers = _answer_files(scorer, [path for path, _ in images], workers, settings.tta)
    for (path, relative), answer in zip(images, answers, strict=True):
        if isinstance(answer, DltoolError):
            predicted = Predicted(path, status="failed", error=answer)
        else:
            ranked = _rank(answer, scorer.classifier.class_names, settings.top)
            predicted = Predicted(path, answers=ranked)
            if sorter is not None:
                predicted = sorter.sort(predicted, relative)
        done.append(predicted)
        yield predicted
    return done


def _answer_files(scorer: Scorer, paths: Sequence[Path], workers: int, tta: bool) -> Iterator[Tensor | DltoolError]:
    """Yield a probability for every class, or why there is none, for every path in order."""
    batches = [list(paths[start : start + _BATCH]) for start in range(0, len(paths), _BATCH)]

    def read(batch: list[Path]) -> list[np.ndarray | DltoolError]:
        pixels: list[np.ndarray | DltoolError] = []
        for path in batch:
            try:
                pixels.append(scorer.reader.read_file(path))
            except DltoolError as error:
                pixels.append(error)
        return pixels

    for _, images in read_ahead(batches, read, workers):
        assert not isinstance(images, DltoolError)
        good = [image for image in images if not isinstance(image, DltoolError)]
        answers = iter(scorer.score_pixels(good, tta).softmax(1)) if good else iter(())
        yield from (image if isinstance(image, DltoolError) else next(answers) for image in images)


def _rank(probabilities: Tensor, class_names: Sequence[str], top: int) -> tuple[tuple[str, float], ...]:
    best = probabilities.topk(min(top, len(class_names)))
    return tuple((class_names[i], p) for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True))


class Sorter:
    """Puts images into a folder for each class, sub-folders mirrored, nothing overwritten unasked."""

    def __init__(self, folder: Path, way: SortBy, threshold: float, on_existing: OnExisting) -> None:
        self._folder = folder
        self._way = way
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

    def sort(self, predicted: Predicted, relative: Path) -> Predicted:
        """Copy or link an image under its class, or to the doubtful ones; return it with its place or an error."""
        name, probability = predicted.answers[0]
        target = self._find_place(name if probability >= self._threshold else UNSURE, relative)
        try:
            if target.exists() or target.is_symlink():
                if self._on_existing is OnExisting.SKIP:
                    return replace(predicted, output=target, status="skipped")
                if target.resolve() == predicted.input.resolve() and not target.is_symlink():
                    raise SettingsError(f"{target}: the output would overwrite an input")
            place_file(predicted.input, target, self._way)
        except DltoolError as error:
            return replace(predicted, status="failed", error=error)
        return replace(predicted, output=target)

    def _find_place(self, name: str, relative: Path) -> Path:
        """A place that no other image of this run has: `a.jpg`, or `a-2.jpg` where two of that name meet."""
        target = self._folder / name / relative
        number = 2
        while target in self._taken:
            target = target.with_name(f"{relative.stem}-{number}{relative.suffix}")
            number += 1
        self._taken.add(target)
        return target


def new_sorter(
    settings: PredictSettings, class_names: Sequence[str], images: Sequence[tuple[Path, Path]], on_existing: OnExisting
) -> Sorter | None:
    """What sorts as the settings ask for, with nothing in its way; None if nothing is to be sorted.

    Raises:
        SettingsError: as `Sorter.check`.
    """
    if settings.sort is None:
        return None
    sorter = Sorter(settings.sort, settings.sort_by, settings.threshold, on_existing)
    sorter.check(class_names, images)
    return sorter


def write_table(path: Path, rows: Sequence[Predicted]) -> None:
    """Write a CSV file with a row per image: input, status, error, then class and probability by rank.

    Raises:
        DltoolError: it cannot be written.
    """
    ranks = max((len(row.answers) for row in rows), default=0)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    names = [f"{kind}{rank}" for rank in range(1, ranks + 1) for kind in ("class", "probability")]
    writer.writerow(["input", "status", "error", *names])
    for row in rows:
        values = [value for name, probability in row.answers for value in (name, f"{probability:.6f}")]
        values += [""] * (2 * ranks - len(values))
        writer.writerow([row.input, row.status, "" if row.error is None else str(row.error), *values])
    write_atomically(path, buffer.getvalue().encode())
