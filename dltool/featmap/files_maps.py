"""Feature maps of image files: a page over all depths, a page per layer, an animation, the numbers."""

import io
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dltool.featmap.activations import FeatureMap, feature_maps
from dltool.featmap.files import Drawn, DrawStep, details_folder, draw_files, numbered
from dltool.featmap.layers import Kind
from dltool.featmap.network import Network, best_classes
from dltool.featmap.settings import MapSettings
from dltool.featmap.sheets import choose_channels, depth_frames, layer_sheets, overview_sheets
from dltool.featmap.view import View, counts, read_view, usable_fit
from dltool.files import write_atomically
from dltool.images.batch import FileDone, FileStep
from dltool.images.colormap import color_table
from dltool.images.folder import Job
from dltool.images.write import write_gif, write_image

_SECONDS_PER_FRAME = 1.2


def map_files(
    jobs: Sequence[Job],
    network: Network,
    layers: dict[str, str],
    settings: MapSettings,
    workers: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[FileStep | FileDone]:
    """Draw the maps of `layers` (names as asked for and the modules' own) for every job's image.

    A job's output is the page over all depths, or the layer's own page if there is one layer only; long pages go on in
    others beside it, and the rest goes to the folder beside it that `details_folder` names.

    Raises:
        SettingsError: no such colour map, a layer has no map, a channel does not exist, the network cannot take this
            size.
        ModelError: a layer gives several tensors or is not reached.
    """
    color_table(settings.colormap)
    fit = usable_fit(network, settings.fit)

    def draw(jobs: list[Job], views: list[View]) -> Generator[DrawStep, None, list[Drawn]]:
        yield DrawStep(jobs[0].input.name, 0, len(jobs))
        images = network.to_input(np.concatenate([view.seen for view in views]))
        features = merge_maps(feature_maps(network, images, layers), views)
        tops = best_classes(network, images, counts(views))
        return [
            Drawn(partial(write_maps, job.output, job.input, view.pixels, maps, source(job), top, settings), top)
            for job, view, maps, top in zip(jobs, views, features, tops, strict=True)
        ]

    def source(job: Job) -> str:
        return f"{job.input.name} · {network.name}"

    read = partial(read_view, network, fit, full=False)
    yield from draw_files(jobs, read, draw, settings.batch_size, workers, should_stop, lambda view: view.seen.shape[1:])


def merge_maps(features: list[list[FeatureMap]], views: Sequence[View]) -> list[list[FeatureMap]]:
    """Bring the maps of the network's inputs to one list of maps for each view."""
    rest = iter(features)
    merged = []
    for view in views:
        layers = zip(*(next(rest) for _ in view.seen), strict=True)
        merged.append([replace(one[0], values=view.merge(np.stack([part.values for part in one]))) for one in layers])
    return merged


def write_maps(
    output: Path,
    image: Path | None,
    pixels: np.ndarray,
    maps: list[FeatureMap],
    source: str,
    top: list[tuple[str, float]],
    settings: MapSettings,
) -> list[dict[str, Any]]:
    """Write all pages of one image's maps, or of those of noise; return the manifest's entries.

    Args:
        pixels: H × W × 3 uint8, for the pages' heads.
        source: image and network, for their titles.
    """
    folder = details_folder(output)
    entries: list[dict[str, Any]] = []

    def keep(path: Path, kind: str, **more: Any) -> Path:
        entries.append({"output": path, "input": image, "kind": kind} | more)
        return path

    for feature in maps:
        first = output if len(maps) == 1 else folder / f"{feature.layer}.png"
        more = {"layer": feature.layer, "layer_kind": feature.kind.value, "shape": list(feature.values.shape)}
        if feature.kind is not Kind.VECTOR:
            more["channels"] = choose_channels(feature, settings.channels)
        for number, page in enumerate(layer_sheets(feature, pixels, source, settings)):
            write_image(keep(numbered(first, number), "maps", page=number + 1, **more), page)
    if settings.gif:
        frames = depth_frames(maps, pixels, source, settings)
        if frames:
            write_gif(keep(folder / "depth.gif", "animation"), frames, _SECONDS_PER_FRAME)
    if settings.raw:
        write_arrays(keep(folder / "maps.npz", "raw"), {feature.layer: feature.values for feature in maps})
    if len(maps) > 1:
        names = [feature.layer for feature in maps]
        pages = list(enumerate(overview_sheets(maps, pixels, source, top, settings)))
        for number, page in pages[::-1]:  # the first one last, because its presence says that the image is done
            write_image(keep(numbered(output, number), "overview", page=number + 1, layers=names), page)
    return entries


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as a compressed .npz, the whole file or none.

    Raises:
        DltoolError: the file cannot be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, buffer.getvalue())
