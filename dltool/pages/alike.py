"""Images that show the same, side by side: what the pages of a clustering and of `--duplicates` have of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MOST_GROUPS = 300


@dataclass(frozen=True)
class Item:
    """One image or row: `number` is its place in the page's data, `image` its thumbnail's address."""

    number: int
    name: str
    image: str
    distance: float = 0.0


@dataclass(frozen=True)
class AlikeGroup:
    """Images of one content, each with words; the first is the one to keep."""

    title: str
    images: tuple[tuple[Item, str], ...]


@dataclass(frozen=True)
class Alike:
    """The groups that a page shows, and how many more there are."""

    groups: tuple[AlikeGroup, ...] = ()
    more: int = 0


def shown_names(groups: Sequence[dict[str, Any]]) -> list[str]:
    """Files of the groups that a page shows, once each."""
    return list(dict.fromkeys(image["file"] for group in groups[:_MOST_GROUPS] for image in group["images"]))


def alike_groups(groups: Sequence[dict[str, Any]], items: Mapping[str, Item]) -> Alike:
    """Groups as `duplicates.json` has them, of those images that the page has."""
    shown = []
    for group in groups[:_MOST_GROUPS]:
        images = tuple((items[image["file"]], _words(image)) for image in group["images"] if image["file"] in items)
        if len(images) > 1:
            kind = "one scene, taken again" if group["kind"] == "scene" else "copies"
            shown.append(AlikeGroup(f"{len(images)} images: {kind}", images))
    return Alike(tuple(shown), len(groups) - len(shown))


def _words(image: Mapping[str, Any]) -> str:
    size = f"{image['width']} × {image['height']}, {image['bytes'] / 1000:,.0f} kB"
    if image["keep"] == "yes":
        return f"keep this: {size}"
    return f"{image['differs']} (likeness {image['similarity']:.2f}); {size}"
