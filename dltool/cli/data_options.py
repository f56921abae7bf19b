"""Options about labelled data that the training commands share, and the lines that describe it."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    pass

_PANEL = "Data"


class OnBad(StrEnum):
    """What to do about a file that cannot be read."""

    SKIP = "skip"
    FAIL = "fail"


ValShare = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=0.99,
        help="Share of train to validate on.",
        show_default="0.2, at most 5000, where there is no val/",
        rich_help_panel=_PANEL,
    ),
]
TestShare = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=0.99,
        help="Share of train to keep for the test.",
        show_default="the test/ that is there",
        rich_help_panel=_PANEL,
    ),
]
OnBadOption = Annotated[
    OnBad,
    typer.Option("--on-bad", help="Unreadable files: leave them out and say so, or fail.", rich_help_panel=_PANEL),
]
Limit = Annotated[
    int, typer.Option(min=0, help="Use only so many pictures of each split; 0: all.", rich_help_panel=_PANEL)
]
DataRoot = Annotated[
    Path, typer.Option(metavar="FOLDER", help="Where the sets by name are kept.", rich_help_panel=_PANEL)
]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch a set by name that is absent.", rich_help_panel=_PANEL)
]
NoCache = Annotated[
    bool,
    typer.Option("--no-cache", help="Keep no features on disk (DLTOOL_CACHE says where).", rich_help_panel=_PANEL),
]
