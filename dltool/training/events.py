"""What every training run may tell whoever watches it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Notice:
    """Something that the user should know, such as a smaller batch after memory ran out."""

    text: str


@dataclass(frozen=True)
class Stopped:
    """The run was asked to stop and has saved its checkpoint."""
