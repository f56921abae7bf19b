"""The page of `dltool featmap`: a list of layers, maps beside the photo, methods that explain an answer."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltool.pages.album import Album, PageStep
from dltool.pages.originals import Originals
from dltool.pages.render import Page
from dltool.pages.run_files import find_recorded, read_json

MANIFEST = "manifest.json"
_SIDE = 448


@dataclass(frozen=True)
class View:
    """An image that can be chosen: what its choice is called, its address, and what is said of it."""

    key: str
    name: str
    image: str
    text: str


@dataclass(frozen=True)
class Photo:
    """One input with its layers' maps, the explanations of its answer, and images made of it."""

    name: str
    image: str
    layers: tuple[View, ...]
    methods: tuple[View, ...]
    others: tuple[View, ...]


@dataclass(frozen=True)
class FeatmapContent:
    """What `featmap.html` shows; `free` are images without an input, such as what excites a channel most."""

    facts: str
    photos: tuple[Photo, ...]
    free: tuple[View, ...]


def read_page(run: Path, album: Album) -> Generator[PageStep, None, Page]:
    """Read `manifest.json` and the images that it lists.

    Raises:
        DataError: it is damaged.
    """
    entries = [entry for entry in read_json(run / MANIFEST)["pictures"] if entry.get("kind") != "raw"]
    views = [_view(run, album, number, entry) for number, entry in enumerate(entries)]
    shown = [(entry, view) for entry, view in zip(entries, views, strict=True) if view.image]
    inputs = list(dict.fromkeys(entry["input"] for entry, _ in shown if entry.get("input")))
    images = yield from album.thumbnails(inputs, Originals(), _SIDE)
    content = FeatmapContent(
        facts=_facts(entries),
        photos=tuple(_photo(name, image, shown) for name, image in zip(inputs, images, strict=True)),
        free=tuple(view for entry, view in shown if not entry.get("input")),
    )
    return Page("featmap.html", f"{run.resolve().name}: what the network sees", content)


def _photo(name: str, image: str, shown: Sequence[tuple[dict[str, Any], View]]) -> Photo:
    own = [(entry["kind"], view) for entry, view in shown if entry.get("input") == name]
    return Photo(
        name,
        image,
        layers=tuple(view for kind, view in own if kind == "maps"),
        methods=tuple(view for kind, view in own if kind == "overlay"),
        others=tuple(view for kind, view in own if kind in ("animation", "dream", "traversal", "sanity")),
    )


def _view(run: Path, album: Album, number: int, entry: dict[str, Any]) -> View:
    path = find_recorded(run, entry["output"])
    image = "" if path is None else album.own(path)
    name, text = _describe(entry)
    return View(f"view-{number}", name, image, text)


def _describe(entry: dict[str, Any]) -> tuple[str, str]:
    """What an image's choice is called, and what is said of it."""
    kind = entry.get("kind")
    if kind == "maps":
        shape = " x ".join(str(length) for length in entry["shape"])
        channels = ", ".join(str(channel) for channel in entry.get("channels") or ())
        number = f", page {entry['page']}" if entry.get("page", 1) > 1 else ""
        return entry["layer"] + number, f"{shape}" + (f"; channels {channels}, the strongest first" if channels else "")
    if kind == "overlay":
        return _describe_overlay(entry)
    if kind == "traversal":
        return "traversal: what the code's numbers do", ""
    words = entry.get("layer") or entry.get("class") or ""
    return f"{kind} {words}".strip(), ""


def _describe_overlay(entry: dict[str, Any]) -> tuple[str, str]:
    target = entry["class"] + (f" rather than {entry['against']}" if entry.get("against") else "")
    text = f"{entry['method']} for {target}"
    if entry.get("against") is None and entry.get("probability") is not None:
        text += f", {100 * entry['probability']:.1f} %"
    if entry.get("layer"):
        text += f"; layer {entry['layer']}"
    score = entry.get("score")
    if score:
        text += f"; deletion {score['deletion']:.3f}, insertion {score['insertion']:.3f}, gain {score['gain']:+.3f}"
    if entry.get("sanity"):
        text += f"; correlation with random weights {entry['sanity'][-1]['correlation']:+.2f}"
    if entry.get("pointing") is not None:
        text += "; on the object" if entry["pointing"] else "; beside the object"
    return f"{entry['method']}, {target}", text + (f"; {entry['remark']}" if entry.get("remark") else "")


def _facts(entries: Sequence[dict[str, Any]]) -> str:
    networks = list(dict.fromkeys(f"{e['network']} at {e['size']} pixels" for e in entries if "network" in e))
    return f"network {', '.join(networks)}" if networks else ""
