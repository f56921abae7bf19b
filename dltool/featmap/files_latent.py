"""Pages of a code: along its numbers, of image files and of noise, and what a generator's layers make of noise."""

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dltool.featmap.activations import feature_maps
from dltool.featmap.files import Drawn, DrawStep, draw_files, numbered
from dltool.featmap.files_maps import write_maps
from dltool.featmap.latent import decoded, traversal_pages, traverse
from dltool.featmap.network import Network
from dltool.featmap.settings import Fit, MapSettings
from dltool.featmap.view import View, read_view
from dltool.images.batch import FileDone, FileStep
from dltool.images.folder import Job
from dltool.images.write import write_image


def traverse_files(
    jobs: Sequence[Job],
    network: Network,
    count: int,
    workers: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[FileStep | FileDone]:
    """Draw what the `count` most telling numbers of every job's image's code do.

    Raises:
        SettingsError: the network has no code.
    """

    def draw(jobs: list[Job], views: list[View]) -> Generator[DrawStep, None, list[Drawn]]:
        (job,), (view,) = jobs, views
        yield DrawStep(job.input.name, 0, 1)
        inputs = network.to_input(view.seen)
        return [Drawn(partial(_write, job.output, job.input, network, inputs, view.pixels, count))]

    yield from draw_files(jobs, partial(read_view, network, Fit.CROP), draw, 1, workers, should_stop)


def write_traversal(path: Path, network: Network, seed: int, count: int) -> list[dict[str, Any]]:
    """Write the page of what the numbers of a generator's noise do, around that of `seed`; return its entries."""
    noise = network.noise(seed)
    return _write(path, None, network, noise, decoded(network, noise)[0], count)


def write_noise_maps(
    path: Path, network: Network, seed: int, layers: dict[str, str], settings: MapSettings
) -> list[dict[str, Any]]:
    """Write the pages of what a generator's layers make of the noise of `seed`; return the manifest's entries.

    Raises:
        SettingsError: a layer has no map, or a channel does not exist.
    """
    noise = network.noise(seed)
    (maps,) = feature_maps(network, noise, layers)
    source = f"noise of seed {seed} · {network.name}"
    return write_maps(path, None, decoded(network, noise)[0], maps, source, [], settings)


def _write(
    path: Path, image: Path | None, network: Network, inputs: Any, pixels: np.ndarray, count: int
) -> list[dict[str, Any]]:
    found = traverse(network, inputs, count)
    source = f"{'noise' if image is None else image.name} · {network.name}"
    pages = list(enumerate(traversal_pages(found, pixels, source)))
    for number, page in pages[::-1]:
        write_image(numbered(path, number), page)
    dimensions = [{"number": one.dimension, "effect": one.effect} for one in found]
    return [
        {"output": numbered(path, number), "input": image, "kind": "traversal", "page": number + 1, "code": dimensions}
        for number, _ in pages
    ]
