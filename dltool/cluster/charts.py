"""Charts of a result: the map of all items, choosing k, clusters against classes."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.optimize import linear_sum_assignment

from dltool.cluster.clustering import Clustering
from dltool.cluster.contact_sheets import read_tile
from dltool.cluster.distances import Rows
from dltool.cluster.grouping import Grouped
from dltool.cluster.k_choice import Choice
from dltool.cluster.scores import Agreement, sample_indices, take
from dltool.cluster.settings import count_of
from dltool.cluster.source import ClusterSource
from dltool.cluster.summary import agreement
from dltool.images.sheet import BACKGROUND, INK, stack_pages, title_page
from dltool.images.write import write_image
from dltool.plots import chart, plot_confusion
from dltool.training.seeds import derive_seed

MAP_ROWS = 2000
_MAP_IMAGES = 300
_THUMB, _CELL = 84, 96
# Cells for each image: some stay empty, so that groups show.
_SPARE = 1.25

RGB = tuple[float, float, float]
_MOST_NAMED, _LONGEST_NAME = 20, 24


def map_places(embedding: Rows, seed: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Places on a plane for all rows, or for a random 2,000 of them.

    Rows of two numbers are their own places, those of more are laid out by t-SNE (van der Maaten and Hinton, 2008),
    after PCA to 50 dimensions where there are more.

    Returns:
        Indices of M rows, M × 2 places, and words about how.
    """
    chosen = sample_indices(len(embedding), MAP_ROWS if embedding.shape[1] != 2 else 10 * MAP_ROWS, seed)
    rows = np.asarray(take(embedding, chosen), dtype=np.float32)
    some = f", {len(chosen)} of {len(embedding)} items" if len(chosen) < len(embedding) else ""
    if rows.shape[1] == 2:
        return chosen, rows, some.removeprefix(", ")
    # t-SNE knows no scale, but its sums in float32 do.
    rows = (rows - rows.mean(0, dtype=np.float64)).astype(np.float32)
    rows /= max(float(np.abs(rows).max()), 1e-30)
    if len(rows) < 4 or rows.shape[1] == 1 or not rows.any():
        line = rows[:, :1]
        return chosen, np.concatenate([line, np.zeros_like(line)], axis=1), some.removeprefix(", ")
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    state = derive_seed(seed, "map") % 2**32
    if rows.shape[1] > 50 and len(rows) > 50:
        rows = PCA(50, random_state=state).fit_transform(rows)
    perplexity = min(30.0, (len(rows) - 1) / 3)
    places = TSNE(2, perplexity=perplexity, init="pca", random_state=state).fit_transform(rows)
    return chosen, places, f"t-SNE, perplexity {perplexity:.0f}{some}"


def plot_map(path: Path, grouped: Grouped, chosen: np.ndarray, places: np.ndarray, how: str) -> None:
    """Points coloured by cluster, and beside them by class where classes are known; centres of the plane as stars."""
    source, clustering = grouped.source, grouped.clustering
    classes = None if source.labels is None else source.labels[chosen]
    columns = 1 if classes is None else 2
    with chart(path, 7.2 * columns, 6.4, columns=columns) as drawn:
        axes = drawn if columns == 1 else drawn[0]
        names = [f"cluster {number}" for number in range(len(clustering.centers))]
        colors = [color(number, len(names)) for number in range(len(names))]
        _scatter(axes, places, clustering.labels[chosen], names, colors)
        notes = [how] if how else []
        if clustering.embedding.shape[1] == 2:
            notes.append("stars: centres")
            stars = clustering.centers.numpy()
            axes.scatter(*stars.T, marker="*", s=320, color=colors, edgecolor="black", zorder=3)
        axes.set(
            title=f"{source.name}: {count_of(len(names), 'clusters')}" + (f" ({', '.join(notes)})" if notes else "")
        )
        if classes is not None:
            colors = class_colors(clustering, source, colors)
            _scatter(drawn[1], places, classes, list(source.class_names), colors)
            drawn[1].set(title="the same by class")


def class_colors(clustering: Clustering, source: ClusterSource, colors: list[RGB]) -> list[RGB]:
    """Each class in the colour of the cluster that is matched to it; those without one in shades of grey."""
    found = agreement(source, clustering)
    assert found is not None
    count = len(source.class_names)
    own = {match: colors[number] for number, match in enumerate(found.matching) if match >= 0}
    return [own.get(number, (0.25 + 0.5 * number / count,) * 3) for number in range(count)]


def _scatter(axes: Any, places: np.ndarray, groups: np.ndarray, names: list[str], colors: list[RGB]) -> None:
    size = float(np.clip(9000 / len(places), 5, 40))
    for number in range(len(names)):
        own = places[groups == number]
        label = names[number][:_LONGEST_NAME] if number < _MOST_NAMED else None
        axes.scatter(*own.T, s=size, color=colors[number], label=label, alpha=0.8, linewidths=0)
    if len(names) > _MOST_NAMED:
        axes.scatter([], [], color="none", label=f"and {len(names) - _MOST_NAMED} more")
    axes.set_aspect("equal", adjustable="datalim")
    # Beside the points, not on them.
    shown = {"loc": "upper left", "bbox_to_anchor": (1, 1), "frameon": False}
    axes.legend(fontsize=8, markerscale=max(1.0, 20 / size) ** 0.5, **shown)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.2)


def color(number: int, count: int) -> RGB:
    """A colour of its own for each of up to 20 groups; beyond that, evenly over the hues."""
    import matplotlib

    if count <= 10:
        return matplotlib.colormaps["tab10"](number)[:3]
    if count <= 20:
        return matplotlib.colormaps["tab20"](number)[:3]
    return matplotlib.colormaps["hsv"](number / count)[:3]


def write_image_map(
    path: Path, source: ClusterSource, clustering: Clustering, chosen: np.ndarray, places: np.ndarray
) -> None:
    """Write the map with thumbnails in frames of their clusters' colours: at most 300, each in a cell of its own.

    Images go to the cells of a grid such that the sum of squared ways from their places on the map is least.
    """
    kept = sample_indices(len(chosen), _MAP_IMAGES, 0)
    shown, spots = chosen[kept], _even(places[kept])
    columns = math.ceil(math.sqrt(_SPARE * len(kept)))
    rows = math.ceil(_SPARE * len(kept) / columns)
    cells = np.array([(column, row) for row in range(rows) for column in range(columns)])
    centers = (cells + 0.5) / (columns, rows)
    taken = linear_sum_assignment(np.square(spots[:, None] - centers[None]).sum(2))[1]
    page = Image.new("RGB", (columns * _CELL + 8, rows * _CELL + 8), BACKGROUND)
    draw = ImageDraw.Draw(page)
    for index, (column, row) in zip(shown.tolist(), cells[taken].tolist(), strict=True):
        left, top = column * _CELL + 8, row * _CELL + 8
        frame = tuple(round(255 * c) for c in color(int(clustering.labels[index]), len(clustering.centers)))
        draw.rectangle((left - 4, top - 4, left + _THUMB + 3, top + _THUMB + 3), fill=frame)
        page.paste(_square(Image.fromarray(read_tile(source, index, _THUMB))), (left, top))
    some = f", {len(shown)} of {len(source)} pictures" if len(shown) < len(source) else ""
    title = title_page(f"{source.name}: like beside like{some}; a frame's colour is its cluster", page.width)
    legend = _legend(clustering, page.width)
    write_image(path, stack_pages([title, legend, np.asarray(page)]))


def _even(places: np.ndarray) -> np.ndarray:
    """Places in [0, 1]², half way from where they are to evenly spread ones, so that a grid has room for crowds."""
    span = np.ptp(places, axis=0)
    scaled = (places - places.min(0)) / np.where(span > 0, span, 1)
    ranks = places.argsort(0, kind="stable").argsort(0, kind="stable") / max(1, len(places) - 1)
    return (scaled + ranks) / 2


def _legend(clustering: Clustering, width: int) -> np.ndarray:
    """A line of coloured squares with the clusters' numbers, as many as there is room for."""
    font = ImageFont.load_default(15)
    page = Image.new("RGB", (width, 30), BACKGROUND)
    draw = ImageDraw.Draw(page)
    for number in range(min(len(clustering.centers), (width - 8) // 62)):
        left = 8 + 62 * number
        draw.rectangle((left, 7, left + 15, 22), tuple(round(255 * c) for c in color(number, len(clustering.centers))))
        draw.text((left + 22, 15), str(number), INK, font, anchor="lm")
    return np.asarray(page)


def _square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    cut = image.crop((left, top, left + side, top + side))
    return cut.resize((_THUMB, _THUMB), Image.Resampling.NEAREST if side * 2 <= _THUMB else Image.Resampling.LANCZOS)


def plot_choice(path: Path, choice: Choice) -> None:
    """Silhouette or modularity, and inertia over k, with the choice and its reason."""
    tried = [entry.k for entry in choice.tried]
    with chart(path, 10, 4, columns=2) as (left, right):
        name = "silhouette" if choice.tried[0].modularity is None else "modularity"
        scored = [(entry.k, getattr(entry, name)) for entry in choice.tried if getattr(entry, name) is not None]
        left.plot([k for k, _ in scored], [value for _, value in scored], "o-")
        items = f" of {choice.sampled} items" if name == "silhouette" else ""
        left.set(xlabel="k", ylabel=f"mean {name}" if items else name, title=name + items)
        right.plot(tried, [entry.inertia for entry in choice.tried], "o-", color="C1")
        right.set(xlabel="k", ylabel="inertia (sum of squared distances)", title="inertia", ylim=(0, None))
        for axes in (left, right):
            axes.axvline(choice.k, color="C3", linestyle=":", label=f"chosen: {choice.k}")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            axes.legend()
        head, _, tail = choice.reason.partition("; ")
        left.figure.suptitle(head + (f";\n{tail}" if tail else ""), fontsize=9)


def plot_classes(path: Path, found: Agreement, class_names: tuple[str, ...]) -> None:
    """Counts by class (rows) and cluster (columns), the columns in the order of the matching."""
    matched = [(match if match >= 0 else len(class_names), number) for number, match in enumerate(found.matching)]
    order = [number for _, number in sorted(matched)]
    counts = np.array(found.table).T[:, order]
    title = f"classes and clusters: accuracy {100 * found.accuracy:.1f} %"
    plot_confusion(path, counts.tolist(), class_names, [f"cluster {n}" for n in order], title)
