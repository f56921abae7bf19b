"""The images that a training wrote after its epochs, for a slider."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dltool.pages.album import Album

SAMPLES = "samples"
_NAME = re.compile(r"epoch-(\d+)\.(?:png|jpg)")
_MOST_INSIDE = 40


@dataclass(frozen=True)
class Slide:
    """The image of an epoch, and what is said of it."""

    epoch: int
    image: str
    text: str


def epoch_slides(
    run: Path, album: Album, history: Sequence[dict[str, Any]], describe: Callable[[dict[str, Any]], str]
) -> tuple[Slide, ...]:
    """A slide for every image in `samples/`, by epoch; into the page itself go 40 of them, evenly spread.

    Args:
        describe: words about a line of the history.
    """
    rows = {row["epoch"]: row for row in history}
    folder = run / SAMPLES
    found = {
        int(match[1]): path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _NAME.fullmatch(path.name))
    }
    epochs = sorted(found)
    if album.inside and len(epochs) > _MOST_INSIDE:
        epochs = [epochs[round(n * (len(epochs) - 1) / (_MOST_INSIDE - 1))] for n in range(_MOST_INSIDE)]
    return tuple(
        Slide(
            epoch, album.own(found[epoch]), f"epoch {epoch}" + (f": {describe(rows[epoch])}" if epoch in rows else "")
        )
        for epoch in epochs
    )


def slide_data(slides: Sequence[Slide]) -> dict[str, Any]:
    """What the script needs to move the slider."""
    return {"slides": [asdict(slide) for slide in slides]}
