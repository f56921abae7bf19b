"""From a task to its drawing: which function draws what is asked, with which settings."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dltool.featmap.files_dream import dream_files
from dltool.featmap.files_latent import traverse_files, write_noise_maps, write_traversal
from dltool.featmap.files_maps import map_files
from dltool.featmap.files_network import ObjectiveStep, write_filters, write_maximized
from dltool.featmap.files_why import explain_files
from dltool.featmap.layers import choose_layers, list_layers
from dltool.featmap.network import Network
from dltool.featmap.plan import FeatmapTask, Question
from dltool.images.batch import FileDone, FileStep
from dltool.images.folder import Job


def draw_task(
    task: FeatmapTask, network: Network, jobs: Sequence[Job], workers: int, should_stop: Callable[[], bool]
) -> tuple[Any, Iterator[FileStep | FileDone]]:
    """The settings of what a task asks of images, and the events of drawing it for every job.

    Raises:
        SettingsError: no such layer.
    """
    settings = task.settings()
    if task.question is Question.MAPS:
        layers = choose_layers(network, list_layers(network), task.look.layer)
        settings = replace(settings, layers=tuple(layers))
        return settings, map_files(jobs, network, layers, settings, workers, should_stop)
    if task.question is Question.WHY:
        return settings, explain_files(jobs, network, list_layers(network), settings, workers, should_stop)
    if task.question is Question.TRAVERSE:
        return settings, traverse_files(jobs, network, settings["traverse"], workers, should_stop)
    return settings, dream_files(jobs, network, task.questions.dream, settings, workers, should_stop)


def draw_page(
    task: FeatmapTask, network: Network, path: Path
) -> Generator[ObjectiveStep, None, tuple[list[dict[str, Any]], Any]]:
    """Draw what a task asks of the network alone; return the manifest's entries, and the settings.

    Raises:
        SettingsError, ModelError: what is asked for is not there, or not of this network.
    """
    if task.question is Question.FILTERS:
        chosen = {"channels": task.filter_channels(), "scale": task.look.scale}
        return write_filters(path, network, task.layer, **chosen), chosen
    if task.question is Question.MAXIMIZE:
        settings = task.maximize_settings(network.size)
        return (yield from write_maximized(path, network, task.questions.maximize, settings)), settings
    seed = task.network.seed
    if task.question is Question.TRAVERSE:
        return write_traversal(path, network, seed, task.questions.traverse), task.settings()
    layers = choose_layers(network, list_layers(network), task.look.layer)
    settings = replace(task.map_settings(), layers=tuple(layers))
    return write_noise_maps(path, network, seed, layers, settings), settings
