"""The page of a folder that `dltool stylize` wrote, with and without `--grid`: before and after."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltool.images.read import read_image
from dltool.pages.album import Album, PageStep, address_of
from dltool.pages.originals import Originals
from dltool.pages.record import RECORD
from dltool.pages.render import Page
from dltool.pages.run_files import find_recorded, read_json

_SIDE = 640
_MOST_ITEMS = 1000
_COLORS = {
    "luminance": "the photo keeps its colours, only its light is painted",
    "histogram": "the style image was recoloured to the photo's colours first",
}


@dataclass(frozen=True)
class Result:
    """An image before and after, as pairs of a name and an address; `link` leads to the whole file."""

    title: str
    views: tuple[tuple[str, str], ...]
    figures: str
    link: str


@dataclass(frozen=True)
class Grid:
    """A photo's results: rows of a content layer's name and its results, one for each of `ratios`."""

    title: str
    ratios: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Result, ...]], ...]


@dataclass(frozen=True)
class BeforeAfterContent:
    """What `before_after.html` shows: single results, and grids of them."""

    facts: str
    words: tuple[str, ...]
    styles: tuple[tuple[str, str], ...]
    results: tuple[Result, ...]
    grids: tuple[Grid, ...]
    more: int
    failed: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, Any], ...]


def read_page(run: Path, album: Album) -> Generator[PageStep, None, Page]:
    """Read what was kept of the document, the inputs that it names, and the outputs in the folder.

    Raises:
        DataError: it is damaged.
    """
    document = read_json(run / RECORD)
    settings = document["settings"]
    there = [(item, path) for item in document["items"] if (path := find_recorded(run, item["output"])) is not None]
    shown = there[:_MOST_ITEMS]
    styles = _style_names(settings.get("style"))
    names = [*styles, *(item["input"] for item, _ in shown)]
    names += [str(path) for item, path in shown if "cells" not in item]
    images = dict(zip(names, (yield from album.thumbnails(names, Originals(), _SIDE)), strict=True))
    single = [(item, path) for item, path in shown if "cells" not in item]
    gridded = [(item, path) for item, path in shown if "cells" in item]
    content = BeforeAfterContent(
        facts=", ".join(f"{count:,} {status}" for status, count in document.get("counts", {}).items() if count),
        words=tuple(_words(settings, bool(gridded))),
        styles=tuple((Path(name).name, images[name]) for name in styles if images[name]),
        results=tuple(_result(run, album, item, path, images) for item, path in single),
        grids=tuple(_grid(run, album, item, path, images[item["input"]]) for item, path in gridded),
        more=len(there) - len(shown),
        failed=tuple((item["input"], item["error"]) for item in document["items"] if item["status"] == "failed"),
        settings=tuple(settings.items()),
    )
    title = f"{run.resolve().name}: {'grids of settings' if gridded else 'restyled'}"
    return Page("before_after.html", title, content)


def _result(run: Path, album: Album, item: dict[str, Any], path: Path, images: dict[str, str]) -> Result:
    views = _views(images[item["input"]], images[str(path)])
    return Result(path.relative_to(run).as_posix(), views, ", ".join(_figures(item)), _link(run, album, path))


def _grid(run: Path, album: Album, item: dict[str, Any], path: Path, before: str) -> Grid:
    """The cells of a sheet, cut out of it."""
    sheet = read_image(path).pixels
    name = path.relative_to(run).as_posix()
    rows: dict[str, list[Result]] = {}
    for cell in item["cells"]:
        left, top, width, height = cell["box"]
        title = f"{cell['layer']}, {cell['ratio']:g} : 1"
        after = album.add(f"{name} {cell['cell']}", sheet[top : top + height, left : left + width], _SIDE)
        figures = f"content {cell['content_loss']:.3g}, style {cell['style_loss']:.3g}"
        rows.setdefault(cell["layer"], []).append(Result(title, _views(before, after), figures, ""))
    ratios = dict.fromkeys(f"{cell['ratio']:g} : 1" for cell in item["cells"])
    return Grid(name, tuple(ratios), tuple((layer, tuple(own)) for layer, own in rows.items()))


def _views(before: str, after: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, address) for name, address in (("before", before), ("after", after)) if address)


def _link(run: Path, album: Album, path: Path) -> str:
    """Where the whole image is; a page that is sent alone has no such place."""
    return "" if album.inside else address_of(path.relative_to(run))


def _figures(item: dict[str, Any]) -> list[str]:
    found = []
    if "size" in item:
        found.append(f"{item['size'][0]} x {item['size'][1]} pixels")
    if "seconds" in item:
        found.append(f"{item['seconds']:.1f} s")
    for name, words in (("content_loss", "content"), ("style_loss", "style")):
        if item.get(name) is not None:
            found.append(f"{words} {item[name]:.3g}")
    return found


def _style_names(style: Any) -> list[str]:
    """The style images, however many the settings name."""
    if style is None:
        return []
    rows = style if isinstance(style, list) else [style]
    return [row["style"] if isinstance(row, dict) else row for row in rows]


def _words(settings: dict[str, Any], grid: bool) -> list[str]:
    """The settings that matter most, as people would say them."""
    names = [Path(name).stem for name in _style_names(settings.get("style"))]
    size = settings.get("size")
    words = [f"Painted after {', '.join(names)}" if names else ""]
    words.append("in each photo's own size" if size is None else f"the longer side has {size} pixels")
    words.append(f"{settings['steps']} steps for each")
    if not grid:
        words.append(f"style counts {settings['style_weight']:g}, content {settings['content_weight']:g}")
    words.append(_COLORS.get(settings.get("preserve_color"), ""))
    if settings.get("strength", 1) < 1:
        words.append(f"{100 * settings['strength']:.0f} % of the way to the style image")
    if settings.get("style_scale", 1) != 1:
        words.append(f"strokes {settings['style_scale']:g} times as large as the style image's")
    if settings.get("mask"):
        words.append(f"where {Path(settings['mask']).name} says")
    words.append(f"judged by {settings['backbone']}" if settings.get("backbone") else "")
    return [word for word in words if word]
