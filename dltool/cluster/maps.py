"""Charts of a result: the map of all items, choosing k, clusters against classes."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dltool.cluster.choose_k import Choice
from dltool.cluster.distances import Rows
from dltool.cluster.group import Grouped
from dltool.cluster.method import Clustering
from dltool.cluster.scores import Agreement, sample_indices, take
from dltool.cluster.sheets import read_tile
from dltool.cluster.source import Source
from dltool.images.sheet import BACKGROUND, INK
from dltool.images.write import write_picture
from dltool.plots import chart, plot_confusion
from dltool.training.seeds import derive_seed

MAP_ROWS = 2000
_MAP_PICTURES = 300
_PAGE, _THUMB = 1800, 84
_MOST_NAMED = 20


def map_places(embedding: Rows, seed: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Places on a plane for all rows, or for a random 2,000 of them.

    Two-dimensional rows are their own places, three-dimensional and higher ones are laid out by t-SNE (van der Maaten
    and Hinton, 2008), after PCA to 50 dimensions where there are more.

    Returns:
        Indices of M rows, M × 2 places, and words about how.
    """
    chosen = sample_indices(len(embedding), MAP_ROWS if embedding.shape[1] != 2 else 10 * MAP_ROWS, seed)
    rows = np.asarray(take(embedding, chosen), dtype=np.float32)
    some = f", {len(chosen)} of {len(embedding)} items" if len(chosen) < len(embedding) else ""
    if rows.shape[1] == 2:
        return chosen, rows, some.removeprefix(", ")
    if len(rows) < 4 or np.ptp(rows, axis=0).max() == 0:
        line = rows[:, :1] - rows[:, :1].mean()
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
        _scatter(axes, places, clustering.labels[chosen], names)
        if clustering.embedding.shape[1] == 2:
            stars = clustering.centers.numpy()
            axes.scatter(*stars.T, marker="*", s=320, color="white", edgecolor="black", zorder=3, label="centres")
            axes.legend(loc="best", fontsize=8)
        axes.set(title=f"{source.name}: {len(names)} clusters" + (f" ({how})" if how else ""))
        if classes is not None:
            _scatter(drawn[1], places, classes, list(source.class_names))
            drawn[1].set(title="the same by class")


def _scatter(axes: Any, places: np.ndarray, groups: np.ndarray, names: list[str]) -> None:
    size = float(np.clip(9000 / len(places), 5, 40))
    for number in range(len(names)):
        own = places[groups == number]
        label = names[number] if number < _MOST_NAMED else None
        axes.scatter(*own.T, s=size, color=color(number, len(names)), label=label, alpha=0.8, linewidths=0)
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(loc="best", fontsize=8, markerscale=max(1.0, 20 / size) ** 0.5)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.2)


def color(number: int, count: int) -> tuple[float, float, float]:
    """A colour of its own for each of up to 20 groups; beyond that, evenly over the hues."""
    import matplotlib

    if count <= 10:
        return matplotlib.colormaps["tab10"](number)[:3]
    if count <= 20:
        return matplotlib.colormaps["tab20"](number)[:3]
    return matplotlib.colormaps["hsv"](number / count)[:3]


def write_picture_map(
    path: Path, source: Source, clustering: Clustering, chosen: np.ndarray, places: np.ndarray
) -> None:
    """Write the map with thumbnails in frames of their clusters' colours, at most 300, none upon another."""
    low, high = places.min(0), places.max(0)
    spots = (places - low) / np.maximum(high - low, 1e-9) * (_PAGE - _THUMB - 8) + (_THUMB + 8) / 2
    page = Image.new("RGB", (_PAGE, _PAGE), BACKGROUND)
    draw = ImageDraw.Draw(page)
    kept: list[np.ndarray] = []
    # From the centres out, so that what is left out where it is crowded is not what a cluster is known by.
    for position in np.argsort(clustering.distances[chosen], kind="stable").tolist():
        spot = spots[position]
        if len(kept) >= _MAP_PICTURES or any(np.abs(spot - other).max() < 0.62 * _THUMB for other in kept):
            continue
        kept.append(spot)
        picture = Image.fromarray(read_tile(source, int(chosen[position]), _THUMB))
        picture = _square(picture)
        left, top = (spot - _THUMB / 2).round().astype(int).tolist()
        frame = tuple(round(255 * c) for c in color(int(clustering.labels[chosen[position]]), len(clustering.centers)))
        draw.rectangle((left - 3, top - 3, left + _THUMB + 2, top + _THUMB + 2), fill=frame)
        page.paste(picture, (left, top))
    font = ImageFont.load_default(26)
    for number in range(len(clustering.centers)):
        own = spots[clustering.labels[chosen] == number]
        if len(own):
            x, y = np.median(own, axis=0)
            draw.text((x, y), str(number), INK, font, anchor="mm", stroke_width=6, stroke_fill=BACKGROUND)
    write_picture(path, np.asarray(page))


def _square(picture: Image.Image) -> Image.Image:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    cut = picture.crop((left, top, left + side, top + side))
    return cut.resize((_THUMB, _THUMB), Image.Resampling.NEAREST if side * 2 <= _THUMB else Image.Resampling.LANCZOS)


def plot_choice(path: Path, choice: Choice) -> None:
    """Silhouette and inertia over k, with the choice and its reason."""
    tried = [entry.k for entry in choice.tried]
    with chart(path, 10, 4, columns=2) as (left, right):
        scored = [entry for entry in choice.tried if entry.silhouette is not None]
        left.plot([entry.k for entry in scored], [entry.silhouette for entry in scored], "o-")
        left.set(xlabel="k", ylabel="mean silhouette", title=f"silhouette of {choice.sampled} items")
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
