"""Writing a result: the table, sheets, maps, charts, the model, the summary."""

import json
from collections.abc import Generator, Sequence
from typing import Any

from dltool.cluster.charts import map_places, plot_choice, plot_classes, plot_map, write_image_map
from dltool.cluster.clustering import GroupingStep
from dltool.cluster.contact_sheets import center_images, write_centers, write_sheets
from dltool.cluster.duplicate_files import describe_groups
from dltool.cluster.duplicates import group_alike
from dltool.cluster.grouping import Grouped
from dltool.cluster.groups_file import model_agreement, save_groups
from dltool.cluster.linkage import MOST_IN_TREE, plot_tree
from dltool.cluster.output_folder import OutputFolder, Placement
from dltool.cluster.settings import ClusterData, ClusterSettings
from dltool.cluster.source import ClusterSource
from dltool.cluster.summary import agreement, summarize, write_assignments, write_embeddings, write_places
from dltool.files import write_atomically
from dltool.images.sorting import place_file
from dltool.settings import as_plain
from dltool.training.events import Notice

_MOST_SHEETS, _MOST_COMPARED = 200, 10_000


def write_result(
    out: OutputFolder,
    grouped: Grouped,
    settings: ClusterSettings,
    placements: Sequence[Placement] = (),
    save_embeddings: bool = False,
    data: ClusterData | None = None,
) -> Generator[GroupingStep | Notice, None, dict[str, Any]]:
    """Write everything into the folder and return what `clusters.json` says of the groups.

    The summary is written last: a folder that has one is complete.

    Args:
        data: what the source was opened by, kept for those who want to find its images again.

    Raises:
        DltoolError: a file cannot be written.
    """
    source, clustering = grouped.source, grouped.clustering
    out.create()
    summary = summarize(grouped, settings.seed)
    summary["duplicates"] = yield from _alike(source)
    if data is not None:
        summary["source"] = {"data": data.source, "root": str(data.root)}
    write_assignments(out.assignments, source, clustering)
    if save_embeddings:
        write_embeddings(out.embeddings, grouped.plain if grouped.smoothed else clustering.embedding)
    if grouped.embedder is not None:
        if grouped.smoothed:
            agreeing = model_agreement(grouped.plain, clustering.labels, clustering.centers)
            summary["metrics"]["model_agreement"] = agreeing
        save_groups(out.model, grouped, summary["metrics"], as_plain(settings))
    if source.split is not None:
        k = len(clustering.centers)
        if k > _MOST_SHEETS:
            yield Notice(f"sheets of the {_MOST_SHEETS} largest of {k} clusters")
        for number, _ in enumerate(write_sheets(out.path, source, clustering, _MOST_SHEETS), start=1):
            yield GroupingStep("drawing sheets", number, min(k, _MOST_SHEETS))
    yield from _draw_charts(out, grouped, settings)
    for number, placement in enumerate(placements, start=1):
        place_file(placement.source, placement.target, placement.way)
        yield GroupingStep("sorting", number, len(placements))
    content = {"settings": as_plain(settings), **summary}
    write_atomically(out.summary, (json.dumps(content, indent=2) + "\n").encode())
    return summary


def _alike(source: ClusterSource) -> Generator[GroupingStep | Notice, None, list[dict[str, Any]]]:
    """Groups of files that show the same."""
    if source.thumbnails is None:
        return []
    if len(source) > _MOST_COMPARED:
        yield Notice(f"more than {_MOST_COMPARED} images: not looked for those that show the same; see --duplicates")
        return []
    return describe_groups((yield from group_alike(source.split, source.root, source.thumbnails, 2)))


def _draw_charts(out: OutputFolder, grouped: Grouped, settings: ClusterSettings) -> Generator[GroupingStep, None, None]:
    source, clustering = grouped.source, grouped.clustering
    yield GroupingStep("drawing the map", 0, 1)
    chosen, places, how = map_places(grouped.plain if grouped.smoothed else clustering.embedding, settings.seed)
    write_places(out.places, source, chosen, places)
    plot_map(out.path / "map.png", grouped, chosen, places, how)
    if source.split is not None:
        write_image_map(out.path / "map-pictures.jpg", source, clustering, chosen, places)
    tree = settings.distance is not None and grouped.embedder is not None  # not of new items in a model's groups
    if tree and 1 < len(source) <= MOST_IN_TREE:
        names = [source.item(index) for index in range(len(source))]
        plot_tree(out.path / "dendrogram.png", clustering.embedding, names, settings.distance)
    if grouped.choice is not None and grouped.choice.tried:
        plot_choice(out.path / "choose_k.png", grouped.choice)
    found = agreement(source, clustering)
    if found is not None:
        plot_classes(out.path / "confusion.png", found, source.class_names)
    images = center_images(grouped)
    if images is not None:
        sizes = [int((clustering.labels == number).sum()) for number in range(len(images))]
        write_centers(out.path / "centers.png", images, sizes)
