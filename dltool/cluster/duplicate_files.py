"""The files of what shows the same: a table, a sheet of pairs, a summary, and folders if wanted."""

import json
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from dltool.cluster.clustering import GroupingStep
from dltool.cluster.duplicates import DuplicateGroup, Duplicates, GroupKind, Member
from dltool.cluster.output_folder import OutputFolder, Placement
from dltool.files import write_atomically
from dltool.images.read import read_image
from dltool.images.sheet import Tile, contact_sheet
from dltool.images.sorting import place_file
from dltool.images.write import write_image
from dltool.tables import to_csv

_TILE, _MOST_PAIRS, _PAIRS_IN_A_ROW = 224, 60, 3
# Less is what scaling and compressing do by themselves.
_LIGHT, _TINTED, _CUT, _RESIZED = 8.0, 10.0, 0.95, 0.02
_COLUMNS = ("group", "kind", "file", "keep", "like", "similarity", "differs", "width", "height", "sharpness", "bytes")
_TURNS = (
    *("", "rotated 90° left", "rotated 180°", "rotated 90° right", "mirrored"),
    *(
        "rotated 90° left and mirrored",
        "upside down and mirrored",
        "rotated 90° right and mirrored",
    ),
)


def describe_difference(member: Member, like: Member) -> str:
    """Words about what an image is beside the one that it resembles."""
    own, theirs, link = member.measured, like.measured, member.link
    kinds = [path.suffix.lower().replace("jpeg", "jpg") for path in (member.path, like.path)]
    other_kind = [] if kinds[0] == kinds[1] else [f"{kinds[0].removeprefix('.')} for {kinds[1].removeprefix('.')}"]
    if own.pixels == theirs.pixels and (own.width, own.height) == (theirs.width, theirs.height):
        return ", ".join(["equal pixels", *other_kind])
    words = [_TURNS[link.orientation]] if link.orientation else []
    if link.shown < _CUT <= link.covered:
        words.append(f"cropped to {link.shown:.0%}")
    elif link.covered < _CUT <= link.shown:
        words.append(f"shows more, {1 / max(link.covered, 0.01):.1f} times as much")
    elif link.covered < _CUT:
        words.append(f"moved, {link.shown:.0%} in common")
    # As wide as it would be if only turned and cropped.
    scale = (own.width * own.height * link.covered / (theirs.width * theirs.height * link.shown)) ** 0.5
    if abs(scale - 1) > _RESIZED + (1 - min(link.shown, link.covered)) / 10:
        words.append(f"resized to {scale:.0%}")
    if abs(link.lighter) > _LIGHT:
        words.append("brighter" if link.lighter > 0 else "darker")
    if link.tint > _TINTED:
        words.append("other colours")
    return ", ".join([*words, *other_kind]) or "other compression"


def write_duplicates(
    out: OutputFolder, found: Duplicates, source: str, placements: Sequence[Placement] = ()
) -> Generator[GroupingStep, None, dict[str, Any]]:
    """Write `duplicates.csv`, `duplicates.jpg`, at last `duplicates.json`, and return what that says.

    Args:
        source: the data as it was typed.

    Raises:
        DltoolError: a file cannot be written, or an image cannot be read any more.
    """
    out.create()
    groups = describe_groups(found.groups)
    table = [[(group | row)[name] for name in _COLUMNS] for group in groups for row in group["images"]]
    write_atomically(out.path / "duplicates.csv", to_csv([_COLUMNS, *table]))
    pairs = [(group.members[member.like], member) for group in found.groups for member in group.members[1:]]
    if pairs:
        yield GroupingStep("drawing pairs", 0, 1)
        write_image(out.path / "duplicates.jpg", _pair_sheet(pairs))
    for number, placement in enumerate(placements, start=1):
        place_file(placement.source, placement.target, placement.way)
        yield GroupingStep("sorting", number, len(placements))
    copies = [group for group in found.groups if group.kind is GroupKind.COPIES]
    summary = {
        "data": found.name,
        "source": {"data": source},
        "count": found.count,
        "groups": groups,
        "copies": sum(len(group.members) - 1 for group in copies),
        "notes": found.notes,
        "unreadable": found.unreadable,
    }
    write_atomically(out.duplicates, (json.dumps(summary, indent=2) + "\n").encode())
    return summary


def describe_groups(groups: Sequence[DuplicateGroup]) -> list[dict[str, Any]]:
    """Groups as JSON has them: number from 1, kind, and of every image what the table says."""
    return [
        {"group": number, "kind": group.kind.value, "images": [_row(member, group.members) for member in group.members]}
        for number, group in enumerate(groups, start=1)
    ]


def _row(member: Member, members: Sequence[Member]) -> dict[str, Any]:
    like = None if member.like is None else members[member.like]
    measured = member.measured
    return {
        "file": member.name,
        "keep": "yes" if like is None else "no",
        "like": like and like.name,
        "similarity": round(member.link.similarity, 3),
        "differs": "" if like is None else describe_difference(member, like),
        "width": measured.width,
        "height": measured.height,
        "sharpness": round(measured.sharpness, 3),
        "bytes": measured.bytes,
    }


def _pair_sheet(pairs: Sequence[tuple[Member, Member]]) -> Any:
    shown = pairs[:_MOST_PAIRS]
    tiles = []
    for like, member in shown:
        words = f"{member.link.similarity:.2f} {describe_difference(member, like)}"
        tiles += [_tile(like.path, like.path.name), _tile(member.path, words)]
    some = "" if len(shown) == len(pairs) else f", {len(shown)} of {len(pairs)}"
    return contact_sheet(tiles, 2 * _PAIRS_IN_A_ROW, _TILE, f"pairs that show the same{some}; duplicates.csv has all")


def _tile(path: Path, label: str) -> Tile:
    return Tile(read_image(path, shortest_side=_TILE).pixels, label)
