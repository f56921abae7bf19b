"""The page of `dltool cluster --duplicates`: images that show the same, side by side."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from dltool.pages.album import Album, PageStep
from dltool.pages.alike import Alike, Item, alike_groups, shown_names
from dltool.pages.originals import Originals
from dltool.pages.render import Page
from dltool.pages.run_files import read_json

SUMMARY = "duplicates.json"


@dataclass(frozen=True)
class DuplicatesContent:
    """What `duplicates.html` shows; `figures` are names, values and what they mean."""

    facts: str
    figures: tuple[tuple[str, str, str], ...]
    alike: Alike
    notes: tuple[str, ...]
    unreadable: tuple[str, ...]


def read_page(run: Path, album: Album) -> Generator[PageStep, None, Page]:
    """Read `duplicates.json`.

    Raises:
        DataError: it is damaged.
    """
    summary = read_json(run / SUMMARY)
    groups = summary["groups"]
    names = shown_names(groups)
    images = yield from album.thumbnails(names, Originals(summary["source"]["data"]))
    items = {name: Item(number, name, image) for number, (name, image) in enumerate(zip(names, images, strict=True))}
    scenes = sum(group["kind"] == "scene" for group in groups)
    content = DuplicatesContent(
        facts=f"{summary['count']:,} images, compared as they are; no file was changed or removed",
        figures=(
            ("copies", str(summary["copies"]), "images beside the one to keep of their group"),
            ("groups of copies", str(len(groups) - scenes), "equal, resized, recompressed, cropped, turned and so on"),
            ("scenes", str(scenes), "taken more than once"),
        ),
        alike=alike_groups(groups, items),
        notes=tuple(summary["notes"]),
        unreadable=tuple(summary["unreadable"]),
    )
    spare = {image["file"] for group in groups if group["kind"] == "copies" for image in group["images"][1:]}
    data = {"kind": "duplicates", "files": names, "spare": [name in spare for name in names]}
    return Page("duplicates.html", f"{summary['data']}: images that show the same", content, data)
