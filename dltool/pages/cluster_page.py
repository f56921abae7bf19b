"""The page of `dltool cluster`: groups from their centres out, the map, the choice of k, copies."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltool.pages.album import Album, PageStep
from dltool.pages.alike import Alike, Item, alike_groups
from dltool.pages.charts import Chart, line_chart
from dltool.pages.originals import Originals
from dltool.pages.render import Page, group_color
from dltool.pages.run_files import read_json, read_table

SUMMARY, ASSIGNMENTS, MAP = "clusters.json", "assignments.csv", "map.csv"
_MOST_ITEMS = 6000
_FIRST = 12
_IMAGES = ("pictures", "small pictures")


@dataclass(frozen=True)
class Group:
    """A cluster: how many items it has, how many of them the page has, and the most typical ones of those."""

    number: int
    size: int
    kept: int
    mean_distance: float | None
    class_name: str | None
    counts: tuple[tuple[str, int], ...]
    first: tuple[Item, ...]


@dataclass(frozen=True)
class ClusterContent:
    """What `cluster.html` shows; `figures` are names, values and what they mean."""

    facts: str
    reason: str | None
    figures: tuple[tuple[str, str, str], ...]
    choice: Chart | None
    groups: tuple[Group, ...]
    on_map: int
    total: int
    kept: int
    has_images: bool
    alike: Alike
    notes: tuple[str, ...]
    unreadable: tuple[str, ...]
    settings: tuple[tuple[str, Any], ...]


def read_page(run: Path, album: Album) -> Generator[PageStep, None, Page]:
    """Read `clusters.json`, `assignments.csv` and `map.csv`.

    Raises:
        DataError: a file is damaged.
    """
    summary = read_json(run / SUMMARY)
    rows = read_table(run / ASSIGNMENTS, "file", "cluster", "distance")
    labels = [int(row["cluster"]) for row in rows]
    distances = [float(row["distance"]) for row in rows]
    places = {row["file"]: (float(row["x"]), float(row["y"])) for row in read_table(run / MAP, "file", "x", "y")}
    members = _members(labels, distances)
    kept = _kept(members, len(rows))
    names = [rows[index]["file"] for index in kept]
    has_images = summary["kind"] in _IMAGES
    images = [""] * len(names)
    if has_images:
        source = summary.get("source") or {"data": summary["data"]}
        originals = Originals(source["data"], Path(source.get("root") or "data"))
        images = yield from album.thumbnails(names, originals)
    items = [Item(n, names[n], images[n], distances[index]) for n, index in enumerate(kept)]
    own_group = [labels[index] for index in kept]
    groups = tuple(_group(entry, items, own_group) for entry in summary["clusters"] if entry["size"])
    content = ClusterContent(
        facts=_facts(summary),
        reason=(summary.get("k_choice") or {}).get("reason"),
        figures=tuple(_figures(summary)),
        choice=_choice_chart(summary.get("k_choice")),
        groups=groups,
        on_map=sum(name in places for name in names),
        total=len(rows),
        kept=len(items),
        has_images=has_images,
        alike=alike_groups(summary.get("duplicates", ()), {item.name: item for item in items}),
        notes=tuple(summary.get("notes", ())),
        unreadable=tuple(summary.get("unreadable", ())),
        settings=tuple(summary.get("settings", {}).items()),
    )
    title = f"{summary['data']}: {summary['k']} groups"
    return Page("cluster.html", title, content, _data(items, own_group, places, has_images))


def _data(
    items: Sequence[Item], groups: Sequence[int], places: dict[str, tuple[float, float]], has_images: bool
) -> dict[str, Any]:
    """Columns for the script: it shows what the template does not, and draws the map."""
    spots = [places.get(item.name) for item in items]
    known = [spot for spot in spots if spot is not None]
    low = [min((spot[axis] for spot in known), default=0.0) for axis in (0, 1)]
    span = max([max((spot[axis] for spot in known), default=1.0) - low[axis] for axis in (0, 1)]) or 1.0
    return {
        "kind": "cluster",
        "files": [item.name for item in items],
        "images": [item.image for item in items] if has_images else None,
        "groups": list(groups),
        "notes": [f"distance {item.distance:.4g}" for item in items],
        "places": [
            None if spot is None else [round((spot[axis] - low[axis]) / span, 4) for axis in (0, 1)] for spot in spots
        ],
        "colors": [group_color(number) for number in range(max(groups, default=0) + 1)],
    }


def _members(labels: Sequence[int], distances: Sequence[float]) -> dict[int, list[int]]:
    """Rows of each cluster, from its centre out."""
    members: dict[int, list[int]] = {}
    for index in sorted(range(len(labels)), key=distances.__getitem__):
        members.setdefault(labels[index], []).append(index)
    return dict(sorted(members.items()))


def _kept(members: dict[int, list[int]], total: int) -> list[int]:
    """Rows that the page has, group by group: all, or of each cluster an even share of those from its centre out."""
    if total <= _MOST_ITEMS:
        return [index for rows in members.values() for index in rows]
    kept = []
    for rows in members.values():
        count = max(min(len(rows), _FIRST), round(len(rows) * _MOST_ITEMS / total))
        kept += [rows[number * len(rows) // count] for number in range(count)]
    return kept


def _group(entry: dict[str, Any], items: Sequence[Item], groups: Sequence[int]) -> Group:
    own = [item for item, group in zip(items, groups, strict=True) if group == entry["cluster"]]
    counts = sorted(((name, count) for name, count in entry.get("counts", {}).items() if count), key=lambda c: -c[1])
    return Group(
        number=entry["cluster"],
        size=entry["size"],
        kept=len(own),
        mean_distance=entry.get("mean_distance"),
        class_name=entry.get("class"),
        counts=tuple(counts),
        first=tuple(own[:_FIRST]),
    )


def _facts(summary: dict[str, Any]) -> str:
    kind = {"pictures": "images", "small pictures": "small images"}.get(summary["kind"], summary["kind"])
    features = f", compared by {summary['features']}" if summary.get("features") else ""
    dimensions = f" ({summary['dimensions']} numbers each)" if summary.get("dimensions") else ""
    method = summary.get("settings", {}).get("method", "kmeans")
    return f"{summary['count']:,} {kind}{features}{dimensions}; method {method}"


def _figures(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    metrics = summary.get("metrics", {})
    rows = []
    if metrics.get("silhouette") is not None:
        what = "how much nearer items are to their own group than to the next: 1 is best, 0 no groups at all"
        rows.append(("silhouette", f"{metrics['silhouette']:.3f}", what))
    known = {
        "accuracy": "of the best matching of groups to classes",
        "purity": "share of items whose class is their group's commonest",
        "nmi": "normalized mutual information of groups and classes",
        "ari": "adjusted Rand index of groups and classes: 1 is equal, 0 chance",
    }
    for name, what in known.items():
        if metrics.get(name) is not None:
            share = name in ("accuracy", "purity")
            rows.append((name, f"{100 * metrics[name]:.1f} %" if share else f"{metrics[name]:.3f}", what))
    return rows


def _choice_chart(choice: dict[str, Any] | None) -> Chart | None:
    if not choice or not choice.get("tried"):
        return None
    points = [(entry["k"], entry["silhouette"]) for entry in choice["tried"]]
    return line_chart("Silhouette of each k", "k", "mean silhouette", {"silhouette": points})
