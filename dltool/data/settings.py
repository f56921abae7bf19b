"""Which data, and how it is divided; free of torch and numpy, so that the help page is quick."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from dltool.errors import SettingsError
from dltool.outputs import TABLES
from dltool.settings import Option, Seed, check_options, read_names

_PANEL = "Data"
# What the columns of a table of labels hold, and what they are called unless --columns says otherwise.
ROLES = ("file", "label", "split", "group")


class OnBad(StrEnum):
    """What to do about a file that cannot be read."""

    SKIP = "skip"
    PARTIAL = "partial"
    FAIL = "fail"


NoCache = Annotated[bool, Option("Keep no features on disk (DLTOOL_CACHE says where).", panel=_PANEL)]


@dataclass(frozen=True)
class DataSettings:
    """Which data.

    Attributes:
        source: a folder or a name of `dltool.data.builtin.BUILTIN`.
        on_bad: what is done about files that cannot be read.
        limit: use only this many samples of each split, chosen by `dltool.data.limit`; 0 uses all.
        root, download: where sets by name are kept, and whether to fetch an absent one.
        seed: of the division.
        complete: whether a validation split is needed; for measuring a model on new images it is not.
        labelled: whether classes matter; if not, a folder of images is enough, and nothing is said about classes.
        joined: take the splits of a folder as one, called train.
        val, test: shares to split off train; None takes the split that is there, and for a missing val `default_val`
            (at most 5000 samples).
        splits_file: a `splits.csv` to divide by instead.
        columns: of a table of labels: which column is which, such as `label=breed`.
        group_by: a regular expression that finds in a path, relative to the data's folder, the group of an image: its
            first bracket, else all that it matches. Images of one group are never divided.
    """

    source: Annotated[
        str,
        Option(
            "A folder of images, with or without class folders, or digits, mnist, fashion-mnist, cifar10.",
            metavar="DATA",
            argument=True,
        ),
    ]
    on_bad: Annotated[
        OnBad, Option("Unreadable files: leave them out, use what of them can be decoded, or fail.", panel=_PANEL)
    ] = OnBad.SKIP
    limit: Annotated[int, Option("Use only so many images of each split; 0: all.", min=0, panel=_PANEL)] = 0
    root: Annotated[
        Path, Option("Where the sets by name are kept.", flags=("--data-root",), metavar="FOLDER", panel=_PANEL)
    ] = Path("data")
    download: Annotated[bool, Option("Fetch a set by name that is absent.", panel=_PANEL)] = False
    seed: Seed = 0
    val: float | None = None
    test: float | None = None
    splits_file: Path | None = None
    columns: tuple[str, ...] = ()
    group_by: str | None = None
    complete: bool = True
    labelled: bool = True
    joined: bool = False
    default_val: float = 0.2

    def __post_init__(self) -> None:
        check_options(self)
        for spelling, value in (("--val", self.val), ("--test", self.test)):
            if not 0 <= (value or 0) < 1:
                raise SettingsError(f"{spelling} {value}: a share from 0 to below 1 is needed")
        if (self.val or 0) + (self.test or 0) >= 1:
            raise SettingsError(f"--val {self.val} --test {self.test}: nothing is left to train on")
        _ = self.roles
        try:
            re.compile(self.group_by or "")
        except re.error as error:
            raise SettingsError(f"--group-by {self.group_by}: not a regular expression ({error})") from error

    @property
    def roles(self) -> dict[str, str]:
        """The columns of a table of labels by what is in them, as far as they were named.

        Raises:
            SettingsError: something else than `ROLES` is named.
        """
        roles = {}
        for text in self.columns:
            role, _, column = text.partition("=")
            if not column or role not in ROLES:
                raise SettingsError(f"--columns {text}: {', '.join(f'{role}=NAME' for role in ROLES)} are known")
            roles[role] = column
        return roles

    @property
    def is_table(self) -> bool:
        """Whether the source is a table of labels rather than a folder."""
        return Path(self.source).suffix.lower() in TABLES and Path(self.source).is_file()

    def without_effect(self) -> dict[str, str]:
        """Options that change nothing about this source, and why; see `dltool.settings.Typed.refuse`."""
        from dltool.data.builtin import is_builtin

        if is_builtin(self.source):
            return dict.fromkeys(("on_bad", "columns", "group_by"), "on a set by name")
        found = dict.fromkeys(("root", "download"), "on a folder; it is for sets by name")
        return found if self.is_table else found | {"columns": "on a folder; it is for tables of labels"}


@dataclass(frozen=True)
class LabelledData(DataSettings):
    """Which labelled data, and how it is divided for training and measuring."""

    source: Annotated[
        str,
        Option(
            "Class folders, train/ and val/ or test/ of them, a table of labels (.csv), or digits, mnist, …",
            metavar="DATA",
            argument=True,
        ),
    ]
    val: Annotated[
        float | None,
        Option(
            "Share of train to validate on.",
            metavar="FLOAT",
            shown="0.2, at most 5000, where there is no val/",
            panel=_PANEL,
        ),
    ] = None
    test: Annotated[
        float | None,
        Option("Share of train to keep for the test.", metavar="FLOAT", shown="the test/ that is there", panel=_PANEL),
    ] = None
    splits_file: Annotated[
        Path | None,
        Option(
            "Divide as an earlier run's splits.csv did.",
            flags=("--splits",),
            metavar="FILE.csv",
            shown="",
            panel=_PANEL,
        ),
    ] = None
    columns: Annotated[
        tuple[str, ...],
        Option(
            "Of a table: which column is which, such as file=image,label=breed.",
            metavar="ROLE=NAME,…",
            shown="file, label, split, group",
            panel=_PANEL,
            read=read_names,
        ),
    ] = ()
    group_by: Annotated[
        str | None,
        Option(
            "Never divide images whose paths have this in common, such as '(patient[0-9]+)'.",
            metavar="REGEX",
            shown="a table's group column",
            panel=_PANEL,
        ),
    ] = None

    def without_effect(self) -> dict[str, str]:
        """Options that change nothing beside the others, and why; see `dltool.settings.Typed.refuse`."""
        found = super().without_effect()
        return found if self.splits_file is None else found | dict.fromkeys(("val", "test"), "with --splits")
