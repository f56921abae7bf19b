"""The folder of a result: what is in the way, what an older result left, and sorting images into folders."""

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dltool import outputs
from dltool.errors import DltoolError, SettingsError
from dltool.images.folder import OnExisting
from dltool.images.sorting import SortBy
from dltool.tables import read_name
from dltool.training.model_file import MODEL_NAME
from dltool.training.run_folder import RunFolder

ASSIGNMENTS, SUMMARY, SORTED = "assignments.csv", "clusters.json", "sorted"
EMBEDDINGS, PLACES, DUPLICATES = "embeddings.npy", "map.csv", "duplicates.json"
_IMAGES = ("cluster-*.jpg", "map.png", "map-pictures.jpg", "centers.png", "choose_k.png", "confusion.png")


@dataclass(frozen=True)
class Placement:
    """An image, where it is copied or linked to, and which of the two."""

    source: Path
    target: Path
    way: SortBy


class OutputFolder:
    """Where a result goes. An older result in it gives way only where that is asked for; other files never do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.assignments = path / ASSIGNMENTS
        self.summary = path / SUMMARY
        self.embeddings = path / EMBEDDINGS
        self.places = path / PLACES
        self.duplicates = path / DUPLICATES
        self.model = path / MODEL_NAME
        self.run = RunFolder(path)

    @property
    def holds_result(self) -> bool:
        """Whether a finished result is in it."""
        return self.duplicates.is_file() or (self.summary.is_file() and self.assignments.is_file())

    def check(self, on_existing: OnExisting, resume: bool = False, read: Sequence[Path] = ()) -> None:
        """See that the folder can take a result, for which the files and folders `read` are read.

        Raises:
            SettingsError: it cannot, or there is no training in it to `resume`.
        """
        self.run.refuse_busy()
        existing = self.path
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir():
            raise SettingsError(f"-o {self.path}: {existing} is a file, but a folder for the results is needed")
        if resume:
            if not self.run.checkpoint.is_file():
                raise SettingsError(
                    f"--resume: nothing was trained in {self.path} (it has no {self.run.checkpoint.name})"
                )
        else:
            gives_way = on_existing is not OnExisting.ERROR
            outputs.check_folder("-o", self.path, gives_way, read, self._is_older())
        if not os.access(existing, os.W_OK):
            raise SettingsError(f"-o {self.path}: {existing} cannot be written to")

    def create(self) -> None:
        """Make the folder, and list from now on what is written into it.

        Raises:
            DltoolError: it cannot be made.
        """
        self.run.go_on("cluster")

    def _is_older(self) -> bool:
        """Whether a dltool without lists wrote a result here, by the form of its table."""
        try:
            with self.assignments.open(encoding="utf-8", errors="replace") as file:
                return file.readline(80).startswith("file,cluster,")
        except OSError:
            return False

    def remove_older(self) -> None:
        """Remove the files of an older result, and the copies and links that it made.

        Raises:
            DltoolError: they cannot be removed.
        """
        try:
            if outputs.is_marked(self.path):
                kept = self.run.checkpoint.relative_to(self.path)  # of the training that has just ended
                outputs.remove(self.path, [name for name in outputs.written(self.path) if name != kept])
                return
            if not self._is_older():
                return
            for target in self._older_placements():
                target.unlink(missing_ok=True)
                for folder in [target.parent, *target.parent.parents]:
                    if not folder.is_relative_to(self.path / SORTED) or not folder.is_dir() or any(folder.iterdir()):
                        break
                    folder.rmdir()
            for pattern in (SUMMARY, ASSIGNMENTS, MODEL_NAME, *_IMAGES):
                for file in self.path.glob(pattern):
                    file.unlink()
        except OSError as error:
            raise DltoolError(f"-o {self.path}: an older result cannot be removed ({error.strerror})") from error

    def _older_placements(self) -> list[Path]:
        if outputs.is_marked(self.path):
            return [self.path / name for name in outputs.written(self.path) if name.parts[0] == SORTED]
        if not self.assignments.is_file() or not (self.path / SORTED).is_dir():
            return []
        with self.assignments.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = [(read_name(row.get("file") or ""), row.get("cluster") or "") for row in csv.DictReader(file)]
        targets = [self.path / SORTED / f"cluster-{number}" / name for name, number in rows]
        own = self.path / SORTED  # what the table says may lead anywhere
        return [t for t in targets if t.is_relative_to(own) and ".." not in t.parts and t.parent.is_dir()]

    def plan_sorting(self, files: Iterable[tuple[Path, str, str]], way: SortBy, gives_way: bool) -> list[Placement]:
        """Where each image would go: into a folder in `sorted/`, by its own path in the data's folder.

        Args:
            files: of each image path, name and folder.
            gives_way: what an older result put there will be removed before.

        Raises:
            SettingsError: something stands there already.
        """
        placements = [Placement(path, self.path / SORTED / folder / name, way) for path, name, folder in files]
        older = set(self._older_placements()) if gives_way else set()
        for placement in placements:
            if placement.target not in older and (placement.target.exists() or placement.target.is_symlink()):
                raise SettingsError(f"{placement.target}: stands there already; remove it or choose another -o")
        return placements
