"""Predicting files: found, read ahead, answered in batches, sorted into folders, listed in a table."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from dltool import outputs
from dltool.errors import DltoolError, SettingsError
from dltool.files import write_atomically
from dltool.finetune.inference_settings import PredictSettings
from dltool.finetune.score import Scorer
from dltool.images.batch import FileDone, Finish, OpenedFile, run_batch
from dltool.images.folder import Job, OnExisting, list_images, own_share, process_rank
from dltool.images.sorting import SortBy, place_file
from dltool.outputs import TABLES, check_file, files_read
from dltool.tables import to_csv

UNSURE, UNKNOWN = "unsure", "unknown"
_BATCH = 16


@dataclass(frozen=True)
class Answers:
    """What an image shows.

    Attributes:
        ranks: the classes asked for with their probabilities, the most probable first.
        distance: from the training images of the most probable class, in parts of the threshold beyond which an image
            shows none of the classes; None where that is not asked for.
    """

    ranks: tuple[tuple[str, float], ...]
    distance: float | None = None

    @property
    def unknown(self) -> bool:
        """Whether it is none of the classes."""
        return self.distance is not None and self.distance > 1

    @property
    def name(self) -> str:
        """The most probable class, or `unknown`."""
        return UNKNOWN if self.unknown else self.ranks[0][0]

    @property
    def figures(self) -> dict[str, Any]:
        """As the JSON document has them."""
        found = {"predictions": [{"class": name, "probability": probability} for name, probability in self.ranks]}
        return found if self.distance is None else found | {"unknown": self.unknown, "distance": self.distance}


def plan_predictions(settings: PredictSettings, on_existing: OnExisting) -> list[tuple[Path, Path]]:
    """Every image that this process is to predict, with its path in the folder that was named.

    Raises:
        SettingsError: an output is in the way, or cannot be shared by processes.
        DataError: an input is missing, or a folder holds no image.
    """
    table, folder = settings.csv_file, settings.sort
    if table is not None and process_rank() != (0, 1):
        raise SettingsError(f"--csv {table}: one process writes a table; leave it out, or start without torchrun")
    if table is not None:
        read = files_read(settings, without=("csv_file", "sort"))
        check_file("--csv", table, on_existing is OnExisting.OVERWRITE, read, TABLES)
    if folder is not None and folder.exists() and not folder.is_dir():
        raise SettingsError(f"--sort {folder}: a file, but a folder is needed")
    images = list_images(settings.images, exclude=folder)
    if folder is not None and process_rank() != (0, 1):
        _refuse_equal_names(images)
    return list(own_share(images))


def _refuse_equal_names(images: Sequence[tuple[Path, Path]]) -> None:
    """Images of one name in one class get numbers, which only one process can give."""
    first: dict[Path, Path] = {}
    for path, relative in images:
        other = first.setdefault(relative, path)
        if other != path:
            raise SettingsError(f"--sort: {other} and {path} have one name; sort them without torchrun")


def predict_files(
    scorer: Scorer,
    settings: PredictSettings,
    images: Sequence[tuple[Path, Path]],
    on_existing: OnExisting,
    workers: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Generator[FileDone, None, list[FileDone]]:
    """Yield the end of every image of `plan_predictions`, in order, and return all of them.

    The result of an end are the Answers; its job's output is where the image was sorted to, and its status `skipped`
    where that stood already.

    Raises:
        SettingsError: before anything is done, as `Sorter.check` does.
    """
    names = scorer.classifier.class_names
    sorter = new_sorter(settings, names, images, on_existing)

    def answer(files: Sequence[OpenedFile[np.ndarray]]) -> Generator[Any, None, list[Finish]]:
        views = scorer.pixel_features([file.content for file in files], settings.tta)
        logits = scorer.score_features(views)
        distances = scorer.distances(views, logits.argmax(1)) if settings.unknown else None
        found = [None] * len(files) if distances is None else distances.tolist()
        yield from ()  # there is nothing to tell on the way
        return [partial(_rank, names, settings.top, *each) for each in zip(logits.softmax(1), found, strict=True)]

    found = run_batch(
        [Job(path) for path, _ in images],
        lambda job: scorer.reader.read_file(job.input),
        answer,
        workers,
        "try --device cpu",
        lambda file: ((file.number - 1) // _BATCH, _BATCH),
        ahead=_BATCH * workers,
        should_stop=should_stop,
    )
    relatives = dict(images)
    ends: list[FileDone] = []
    with closing(found):
        for end in found:
            if sorter is not None and end.status == "done":
                end = sorter.sort(end, relatives[end.job.input])
            ends.append(end)
            yield end
    return ends


def _rank(class_names: Sequence[str], top: int, probabilities: Tensor, distance: float | None) -> Answers:
    best = probabilities.topk(min(top, len(class_names)))
    ranks = tuple((class_names[i], p) for p, i in zip(best.values.tolist(), best.indices.tolist(), strict=True))
    return Answers(ranks, distance)


class Sorter:
    """Puts images into a folder for each class, sub-folders mirrored, nothing overwritten unasked."""

    def __init__(
        self, folder: Path, way: SortBy, threshold: float, on_existing: OnExisting, unknown: bool = False
    ) -> None:
        self._folder = folder
        self._way = way
        self._threshold = threshold
        self._kept_apart = {UNSURE: "--threshold"} if threshold > 0 else {}
        self._kept_apart |= {UNKNOWN: "--unknown"} if unknown else {}
        self._on_existing = on_existing
        self._taken: set[Path] = set()

    def check(self, class_names: Sequence[str], images: Sequence[tuple[Path, Path]]) -> None:
        """Look for what would be in the way, before any work starts.

        Raises:
            SettingsError: an image might meet an output that exists, or a class is called as the folder of doubtful
                images is.
        """
        for name in self._kept_apart.keys() & {name.lower() for name in class_names}:
            raise SettingsError(
                f"{self._kept_apart[name]}: a class of the model is called '{name}' itself; leave it out"
            )
        names = (*class_names, UNSURE, UNKNOWN)
        folders = [self._folder / name for name in names if (self._folder / name).is_dir()]
        existing = [
            place
            for folder in folders
            for _, relative in images
            if (place := folder / relative).exists() or place.is_symlink()
        ]
        if existing and self._on_existing is OnExisting.ERROR:
            raise SettingsError(f"{existing[0]}: output exists; give --overwrite or --skip-existing")
        if self._on_existing is OnExisting.OVERWRITE:
            outputs.refuse_foreign("--sort", self._folder, existing)
        outputs.claim(self._folder)

    def sort(self, end: FileDone, relative: Path) -> FileDone:
        """Copy or link an image under what it shows, or to the doubtful ones; return its end with place or error."""
        answers: Answers = end.result
        name = answers.name if answers.unknown or answers.ranks[0][1] >= self._threshold else UNSURE
        source, target = end.job.input, self._find_place(name, relative)
        placed = replace(end.job, output=target)
        try:
            if target.exists() or target.is_symlink():
                if self._on_existing is OnExisting.SKIP:
                    return replace(end, job=placed, status="skipped")
                if target.resolve() == source.resolve() and not target.is_symlink():
                    raise SettingsError(f"{target}: the output would overwrite an input")
                if target.name != relative.name:  # those that keep their names have been looked at
                    outputs.refuse_foreign("--sort", self._folder, [target])
            place_file(source, target, self._way)
        except DltoolError as error:
            return replace(end, status="failed", error=error)
        return replace(end, job=placed)

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
    sorter = Sorter(settings.sort, settings.sort_by, settings.threshold, on_existing, settings.unknown)
    sorter.check(class_names, images)
    return sorter


def write_table(path: Path, ends: Sequence[FileDone]) -> None:
    """Write a CSV file with a row per image: input, status, error, then class and probability by rank.

    Where it was asked for whether images are unknown, `unknown` (yes or no) and `distance` stand before the classes.

    Raises:
        DltoolError: it cannot be written.
    """
    found: list[Answers] = [end.result for end in ends if end.result is not None]
    ranks = max((len(answers.ranks) for answers in found), default=0)
    known = any(answers.distance is not None for answers in found)
    names = [f"{kind}{rank}" for rank in range(1, ranks + 1) for kind in ("class", "probability")]
    rows: list[Sequence[object]] = [["input", "status", "error", *(("unknown", "distance") if known else ()), *names]]
    for end in ends:
        values: list[str] = []
        if end.result is not None:
            answers: Answers = end.result
            values = ["yes" if answers.unknown else "no", f"{answers.distance:.4f}"] if known else []
            values += [text for name, share in answers.ranks for text in (name, f"{share:.6f}")]
        rows.append([end.job.input, end.status, end.error, *values, *[""] * (len(rows[0]) - 3 - len(values))])
    write_atomically(path, to_csv(rows))
