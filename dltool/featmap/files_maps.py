"""Feature maps of image files: a page over all depths, a page per layer, an animation, the numbers."""

import io
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dltool.featmap.activations import FeatureMap, feature_maps
from dltool.featmap.files import Drawn, DrawStep, details_folder, draw_files, read_crop
from dltool.featmap.layers import Kind
from dltool.featmap.network import Network, best_classes
from dltool.featmap.settings import MapSettings
from dltool.featmap.sheets import choose_channels, depth_frames, layer_sheet, overview_sheet
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

    A job's output is the page over all depths, or the layer's own page if there is one layer only; the rest goes to
    the folder beside it that `details_folder` names.

    Raises:
        SettingsError: no such colour map, a layer has no map, a channel does not exist, the network cannot take this
            size.
        ModelError: a layer gives several tensors or is not reached.
    """
    color_table(settings.colormap)

    def draw(jobs: list[Job], photos: list[np.ndarray]) -> Generator[DrawStep, None, list[Drawn]]:
        yield DrawStep(jobs[0].input.name, 0, len(jobs))
        images = network.to_input(photos)
        features = feature_maps(network, images, layers)
        tops = best_classes(network, images)
        return [
            Drawn(partial(_write, job, image, maps, network.name, top, settings), _entries(job, maps, settings), top)
            for job, image, maps, top in zip(jobs, photos, features, tops, strict=True)
        ]

    yield from draw_files(jobs, partial(read_crop, network), draw, settings.batch_size, workers, should_stop)


def _write(
    job: Job,
    image: np.ndarray,
    maps: list[FeatureMap],
    network_name: str,
    top: list[tuple[str, float]],
    settings: MapSettings,
) -> None:
    source = f"{job.input.name} · {network_name}"
    folder = details_folder(job.output)
    for feature, path in _pages(job, maps):
        write_image(path, layer_sheet(feature, image, source, settings))
    if settings.gif:
        frames = depth_frames(maps, image, job.input.name, settings)
        if frames:
            write_gif(folder / "depth.gif", frames, _SECONDS_PER_FRAME)
    if settings.raw:
        write_arrays(folder / "maps.npz", {feature.layer: feature.values for feature in maps})
    if len(maps) > 1:
        # Last, because its presence says that the image is done.
        write_image(job.output, overview_sheet(maps, image, source, top, settings))


def _pages(job: Job, maps: list[FeatureMap]) -> list[tuple[FeatureMap, Path]]:
    if len(maps) == 1:
        return [(maps[0], job.output)]
    folder = details_folder(job.output)
    return [(feature, folder / f"{feature.layer}.png") for feature in maps]


def _entries(job: Job, maps: list[FeatureMap], settings: MapSettings) -> list[dict[str, Any]]:
    folder = details_folder(job.output)
    entries: list[dict[str, Any]] = []
    if len(maps) > 1:
        names = [feature.layer for feature in maps]
        entries.append({"output": job.output, "input": job.input, "kind": "overview", "layers": names})
    for feature, path in _pages(job, maps):
        entry = {"output": path, "input": job.input, "kind": "maps", "layer": feature.layer}
        entry |= {"layer_kind": feature.kind.value, "shape": list(feature.values.shape)}
        if feature.kind is not Kind.VECTOR:
            entry["channels"] = choose_channels(feature, settings.channels)
        entries.append(entry)
    if settings.gif and any(feature.kind is not Kind.VECTOR for feature in maps):
        entries.append({"output": folder / "depth.gif", "input": job.input, "kind": "animation"})
    if settings.raw:
        entries.append({"output": folder / "maps.npz", "input": job.input, "kind": "raw"})
    return entries


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as a compressed .npz, the whole file or none.

    Raises:
        DltoolError: the file cannot be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, buffer.getvalue())
