"""Images in, pages out: what maps, explanations and dreams of files have in common."""

from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dltool.events import mapped
from dltool.images.batch import FileDone, FileStep, Finish, OpenedFile, run_batch
from dltool.images.folder import Job


@dataclass(frozen=True)
class DrawStep:
    """How far the work on the images at hand is."""

    task: str
    done: int
    total: int


@dataclass(frozen=True)
class DrawnFile:
    """What is known of an image whose pages have been written.

    Attributes:
        entries: for the manifest, one per written file.
        top: names and probabilities of the network's best classes, where it has classes.
    """

    entries: tuple[dict[str, Any], ...]
    top: tuple[tuple[str, float], ...] = ()

    @property
    def figures(self) -> dict[str, Any]:
        """The same as the JSON document has it, and the answers in words."""
        if not self.top:
            return {"outputs": self.entries}
        top = [{"class": name, "probability": share} for name, share in self.top]
        note = ", ".join(f"{name} {100 * share:.1f} %" for name, share in self.top)
        return {"outputs": self.entries, "top": top, "note": note}


@dataclass(frozen=True)
class Drawn:
    """What is known of one image before its pages are written: `write` draws and writes them, and says which.

    It returns the manifest's entries, one for each file that it wrote.
    """

    write: Callable[[], list[dict[str, Any]]]
    top: list[tuple[str, float]] = field(default_factory=list)


Content = TypeVar("Content")
Draw = Callable[[list[Job], list[Content]], Generator[DrawStep, None, list[Drawn]]]
"""Takes jobs with what was read of their images, yields progress and returns one Drawn per job."""


def draw_files(
    jobs: Sequence[Job],
    read: Callable[[Path], Content],
    draw: Draw[Content],
    batch_size: int,
    workers: int,
    should_stop: Callable[[], bool],
    kind: Callable[[Content], Hashable] = lambda content: None,
) -> Iterator[FileStep | FileDone]:
    """Read the jobs' images, draw up to `batch_size` of one `kind` together and write what was drawn, as `run_batch`.

    Yields:
        A FileStep with a DrawStep, which is about all that are drawn together, and FileDone, whose result is a
        DrawnFile.
    """

    def work(files: list[OpenedFile[Content]]) -> Generator[tuple[int, DrawStep], None, list[Finish]]:
        steps = draw([file.job for file in files], [file.content for file in files])
        drawn = yield from mapped(steps, lambda step: (0, step))
        return [partial(_write, one) for one in drawn]

    yield from run_batch(
        *(jobs, lambda job: read(job.input), work, workers, "try a smaller --batch-size or --size"),
        together=lambda file: (kind(file.content), batch_size),
        ahead=batch_size,
        should_stop=should_stop,
    )


def _write(drawn: Drawn) -> DrawnFile:
    return DrawnFile(tuple(drawn.write()), tuple(drawn.top))


def details_folder(output: Path) -> Path:
    """The folder for the single pages that belong to the page `output`: `out/cat.maps.png` has `out/cat`."""
    name = output.name
    for suffix in (".maps.png", ".why.png", ".dream.png", output.suffix):
        if suffix and name.endswith(suffix):
            return output.with_name(name.removesuffix(suffix))
    return output.with_name(name + ".pages")


def numbered(path: Path, number: int) -> Path:
    """The path of a further page: `out/cat.maps.png` for the first (0), then `out/cat.maps.2.png`."""
    return path if number == 0 else path.with_name(f"{path.stem}.{number + 1}{path.suffix}")
