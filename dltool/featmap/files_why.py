"""Explanations of image files: a page of methods and classes, each overlay alone, the numbers."""

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dltool.backbones.layers import resolve_layers
from dltool.events import mapped
from dltool.featmap.cam import choose_layer
from dltool.featmap.files import Drawn, DrawStep, details_folder, draw_files, read_crop
from dltool.featmap.files_maps import write_arrays
from dltool.featmap.layers import LayerInfo
from dltool.featmap.methods import explain
from dltool.featmap.network import Network, answer, best_classes, frozen
from dltool.featmap.pages import Explanation, overlay_image, why_page
from dltool.featmap.settings import LAYER_METHODS, Method, WhySettings
from dltool.featmap.targets import Target, find_class, target_name
from dltool.featmap.trust import measure_trust
from dltool.images.batch import FileDone, FileStep
from dltool.images.colormap import color_table
from dltool.images.folder import Job
from dltool.images.write import write_image


def explain_files(
    jobs: Sequence[Job],
    network: Network,
    layers: Sequence[LayerInfo],
    settings: WhySettings,
    workers: int = 1,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[FileStep | FileDone]:
    """Explain the network's answer to every job's image by every method and for every class asked for.

    A job's output is the page with all of them; each overlay alone goes to the folder that `details_folder` names.

    Args:
        layers: of the network, to choose one from where `settings.layer` names none.

    Raises:
        SettingsError: no such class, layer or colour map, a method that does not fit, or a size that the network
            cannot take.
        ModelError: the network is no classifier.
    """
    color_table(settings.colormap)
    if settings.layer:
        settings = replace(settings, layer=resolve_layers(network.module, [settings.layer], "--layer")[settings.layer])

    def draw(jobs: list[Job], photos: list[np.ndarray]) -> Generator[DrawStep, None, list[Drawn]]:
        images = network.to_input(photos)
        rows = choose_targets(network, images, settings)
        layer = _layer(network, layers, images, rows[0], settings)
        explained: list[list[Explanation]] = [[] for _ in jobs]
        task = jobs[0].input.name + (f" and {len(jobs) - 1} more" if len(jobs) > 1 else "")
        for targets in rows:
            for method in settings.methods:
                found = yield from _explain_batch(network, images, targets, method, settings, layer, task)
                for mine, one in zip(explained, found, strict=True):
                    mine.append(one)
        tops = best_classes(network, images)
        return [
            Drawn(
                partial(
                    _write, job, image, mine, f"{network.name} · {layer}" if layer else network.name, top, settings
                ),
                _entries(network, job, mine, layer, settings),
                top,
            )
            for job, image, mine, top in zip(jobs, photos, explained, tops, strict=True)
        ]

    yield from draw_files(jobs, partial(read_crop, network), draw, settings.batch_size, workers, should_stop)


def choose_targets(network: Network, images: Tensor, settings: WhySettings) -> list[list[Target]]:
    """Return one list of targets, a target for each image, for every class that is to be explained."""
    with frozen(network.module), torch.no_grad():
        logits = answer(network, images)
    if not settings.classes:
        return [[Target(index) for index in logits.argmax(1).tolist()]]
    indices = [find_class(network, text, logits.shape[1]) for text in settings.classes]
    rows = [Target(index) for index in dict.fromkeys(indices)]
    if settings.contrast:
        first, second = indices
        rows += [Target(first, second), Target(second, first)]
    return [[target] * len(images) for target in rows]


def _layer(
    network: Network, layers: Sequence[LayerInfo], images: Tensor, targets: list[Target], settings: WhySettings
) -> str:
    if not set(settings.methods) & set(LAYER_METHODS):
        return ""
    return settings.layer or choose_layer(network, layers, images, targets)


def _explain_batch(
    network: Network,
    images: Tensor,
    targets: list[Target],
    method: Method,
    settings: WhySettings,
    layer: str,
    task: str,
) -> Generator[DrawStep, None, list[Explanation]]:
    yield DrawStep(f"{task}, {method.value}", 0, 1)
    work = explain(network, images, targets, method, settings, layer)
    heats = yield from mapped(work, lambda passes: DrawStep(f"{task}, {method.value}", *passes))
    with frozen(network.module), torch.no_grad():
        probabilities = answer(network, images).softmax(1)
    explanations = []
    for number, (heat, target) in enumerate(zip(heats, targets, strict=True)):
        trust = None
        if settings.score:
            yield DrawStep(f"{task}, score of {method.value}", number, len(heats))
            trust = measure_trust(
                network, images[number : number + 1], target, heat.values, batch_size=settings.batch_size
            )
        share = float(probabilities[number, target.index])
        explanations.append(Explanation(heat, target_name(network, target), share, trust))
    return explanations


def _write(
    job: Job,
    image: np.ndarray,
    explanations: list[Explanation],
    network_name: str,
    top: list[tuple[str, float]],
    settings: WhySettings,
) -> None:
    folder = details_folder(job.output)
    for one in explanations:
        write_image(folder / f"{_file_stem(one)}.png", overlay_image(one, image, settings))
    if settings.raw:
        write_arrays(folder / "why.npz", {_file_stem(one): one.heat.values for one in explanations})
    page = why_page(explanations, image, f"{job.input.name} · {network_name}", top, settings)
    write_image(job.output, page)


def _entries(
    network: Network, job: Job, explanations: list[Explanation], layer: str, settings: WhySettings
) -> list[dict[str, Any]]:
    folder = details_folder(job.output)
    entries: list[dict[str, Any]] = [{"output": job.output, "input": job.input, "kind": "comparison"}]
    for one in explanations:
        target = one.heat.target
        entries.append(
            {
                "output": folder / f"{_file_stem(one)}.png",
                "input": job.input,
                "kind": "overlay",
                "method": one.heat.method.value,
                "layer": layer if one.heat.method in LAYER_METHODS else None,
                "shape": list(one.heat.values.shape),
                "class": network.class_name(target.index),
                "class_index": target.index,
                "against": None if target.against is None else network.class_name(target.against),
                "probability": one.probability,
                "score": None if one.trust is None else asdict(one.trust) | {"gain": one.trust.gain},
            }
        )
    if settings.raw:
        entries.append({"output": folder / "why.npz", "input": job.input, "kind": "raw"})
    return entries


def _file_stem(explanation: Explanation) -> str:
    """A file name that tells method and target apart, such as `gradcam.tiger_cat`."""
    target = explanation.heat.target
    name = re.sub(r"[^\w-]+", "_", explanation.label).strip("_") or "class"
    index = str(target.index) if target.against is None else f"{target.index}-{target.against}"
    return f"{explanation.heat.method.value}.{index}.{name}"
