"""Whether a run makes its page, and what `dltool page` is told; free of all else, so that help pages are quick."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from dltool.settings import Option


@dataclass(frozen=True)
class PageChoice:
    """Whether a command makes the page of what it wrote."""

    no_page: Annotated[bool, Option("Leave out index.html, the page that shows what came out.", panel="Page")] = False


@dataclass(frozen=True)
class TrainingPageChoice(PageChoice):
    """Whether a training makes its page, and when."""

    watch_page: Annotated[
        bool, Option("Make the page after every epoch; a browser that shows it reads it again.", panel="Page")
    ] = False

    def without_effect(self) -> dict[str, str]:
        """Options that change nothing beside the others, and why."""
        return {"watch_page": "with --no-page"} if self.no_page else {}


@dataclass(frozen=True)
class PageTask:
    """What `dltool page` is told."""

    run: Annotated[Path, Option("A folder that dltool wrote.", metavar="RUN", argument=True)]
    single_file: Annotated[bool, Option("Put the images into the page, to send it as one file.", panel="Page")] = False
