"""Sheets of image files: each photo with every content layer and style : content ratio."""

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from dltool.events import mapped
from dltool.images.batch import FileDone, FileStep, Finish, OpenedFile, run_batch
from dltool.images.folder import Job
from dltool.images.read import DecodedImage
from dltool.images.write import write_image
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.files import of_this_size, read_photo, read_start
from dltool.stylize.grid import RATIOS, GridSheet, GridStep, stylize_grid
from dltool.stylize.settings import StylizeSettings
from dltool.stylize.styles import Style
from dltool.stylize.targets import StyleTargets, read_style


def grid_files(
    jobs: Sequence[Job],
    style: Style,
    network: FeatureNetwork,
    settings: StylizeSettings,
    device: torch.device,
    workers: int = 1,
    ratios: Sequence[float] = RATIOS,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[FileStep | FileDone]:
    """Write a sheet for every job, a row for each of the network's content layers, as `run_batch` does.

    A FileStep's step is a GridStep, a FileDone's result the GridSheet; see `stylize_grid`.

    Raises:
        DataError: the painting cannot be read.
    """
    targets = StyleTargets(network, read_style(style, settings))
    init = read_start(settings)
    names = ", ".join(path.stem for path, _ in style.images)

    def draw(photos: Sequence[OpenedFile[DecodedImage]]) -> Generator[tuple[int, GridStep], None, list[Finish]]:
        (photo,) = photos
        title = f"{photo.job.input.stem} + {names}: style : content"
        with of_this_size(photo.content.pixels.shape[1::-1]):
            work = stylize_grid(photo.content, targets, network, ratios, settings, device, title, init)
            sheet = yield from mapped(work, lambda step: (0, step))
        return [partial(_write, photo.job.output, sheet)]

    yield from run_batch(
        jobs,
        lambda job: read_photo(job.input, settings.size),
        draw,
        workers,
        "the picture does not fit; try a smaller --size",
        should_stop=should_stop,
    )


def _write(output: Path, sheet: GridSheet) -> GridSheet:
    write_image(output, sheet.pixels)
    return sheet
