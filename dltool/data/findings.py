"""What the data check finds: notes for people, and every file that they are about, as a table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dltool.files import write_atomically
from dltool.tables import to_csv


@dataclass(frozen=True)
class Finding:
    """One file and what is the matter with it.

    Attributes:
        kind: `unreadable`, `partial` (damaged, a part is used), `unknown kind`, `duplicate`, `near duplicate` or
            `contradicting`.
        other: the file that it is like; empty where there is none.
    """

    kind: str
    file: str
    other: str = ""
    said: str = ""


@dataclass
class Findings:
    """What a look at the data found, by kind; every list names files or classes."""

    notes: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    files: list[Finding] = field(default_factory=list)


def count_findings(files: Sequence[Finding]) -> dict[str, int]:
    """How many there are of each kind."""
    return dict(sorted(Counter(each.kind for each in files).items()))


def write_findings(path: Path, files: Sequence[Finding]) -> None:
    """Write a table with a row for every finding.

    Raises:
        DltoolError: it cannot be written.
    """
    rows = [(each.kind, each.file, each.other, each.said) for each in files]
    write_atomically(path, to_csv([("finding", "file", "like", "what"), *rows]))
