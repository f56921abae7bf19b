"""Explanations of image files: a page of methods and classes, each overlay alone, the numbers."""

import re
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
from torch import Tensor

from dltool.backbones.layers import resolve_layers
from dltool.events import mapped
from dltool.featmap.cam import choose_layer
from dltool.featmap.files import Drawn, DrawStep, details_folder, draw_files, numbered
from dltool.featmap.files_maps import write_arrays
from dltool.featmap.layers import LayerInfo, require_map
from dltool.featmap.methods import Heat, explain
from dltool.featmap.network import Network, best_classes, mean_answer
from dltool.featmap.pages import Explanation, ShownMap, overlay_image, sanity_pages, shown_maps, why_pages
from dltool.featmap.pointing import find_masks, points_at, read_object
from dltool.featmap.sanity import SanityStage, randomized_maps, rank_correlation
from dltool.featmap.settings import LAYER_METHODS, Method, WhySettings
from dltool.featmap.targets import Target, find_class, target_name
from dltool.featmap.trust import Trust, measure_trust
from dltool.featmap.view import View, counts, read_view, usable_fit
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
        own = resolve_layers(network.module, [settings.layer], "--layer")[settings.layer]
        require_map(layers, own)
        settings = replace(settings, layer=own)
    fit = usable_fit(network, settings.fit)
    masks = {} if settings.masks is None else find_masks(settings.masks, [job.input for job in jobs])

    def draw(jobs: list[Job], views: list[View]) -> Generator[DrawStep, None, list[Drawn]]:
        images = network.to_input(np.concatenate([view.seen for view in views]))
        answers = mean_answer(network, images, counts(views))
        rows = choose_targets(network, answers, settings)
        layer = _layer(network, layers, images, rows[0], settings)
        explained: list[list[Explanation]] = [[] for _ in jobs]
        task = jobs[0].input.name + (f" and {len(jobs) - 1} more" if len(jobs) > 1 else "")
        for targets in rows:
            for method in settings.methods:
                asked = _Asked(network, images, views, targets, answers)
                found = yield from _explain_batch(asked, method, settings, layer, task)
                if settings.sanity:
                    found = yield from _randomize(asked, method, settings, layers, layer, task, found)
                for mine, one in zip(explained, found, strict=True):
                    mine.append(one)
        for job, view, mine in zip(jobs, views, explained, strict=True):
            if job.input in masks:
                where = read_object(network, fit, masks[job.input], view.size)
                mine[:] = [replace(one, pointing=points_at(one.heat.values, where)) for one in mine]
        tops = best_classes(network, images, counts(views))
        source = f"{network.name} · {layer}" if layer else network.name
        return [
            Drawn(partial(_write, network, job, view, mine, source, layer, top, settings), top)
            for job, view, mine, top in zip(jobs, views, explained, tops, strict=True)
        ]

    read = partial(read_view, network, fit)
    yield from draw_files(jobs, read, draw, settings.batch_size, workers, should_stop, lambda view: view.seen.shape[1:])


@dataclass(frozen=True)
class _Asked:
    """What is asked of some images: their views, the inputs for them, a target and the probabilities for each."""

    network: Network
    images: Tensor
    views: list[View]
    targets: list[Target]
    answers: Tensor

    @property
    def targets_of_inputs(self) -> list[Target]:
        """The target of each input, of which a view may have several."""
        return [target for target, view in zip(self.targets, self.views, strict=True) for _ in view.seen]


def choose_targets(network: Network, answers: Tensor, settings: WhySettings) -> list[list[Target]]:
    """Return one list of targets, a target for each image, for every class that is to be explained.

    Args:
        answers: probabilities of the classes, N × classes.
    """
    if not settings.classes:
        return [[Target(index) for index in answers.argmax(1).tolist()]]
    indices = [find_class(network, text, answers.shape[1]) for text in settings.classes]
    rows = [Target(index) for index in dict.fromkeys(indices)]
    if settings.contrast:
        first, second = indices
        rows += [Target(first, second), Target(second, first)]
    return [[target] * len(answers) for target in rows]


def _layer(
    network: Network, layers: Sequence[LayerInfo], images: Tensor, targets: list[Target], settings: WhySettings
) -> str:
    if not set(settings.methods) & set(LAYER_METHODS):
        return ""
    return settings.layer or choose_layer(network, layers, images, targets)


def _merged(asked: _Asked, maps: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The map of each image, H × W, from those of the inputs."""
    rest = iter(maps)
    return [view.merge(np.stack([next(rest)[None] for _ in view.seen]))[0] for view in asked.views]


def _explain_batch(
    asked: _Asked, method: Method, settings: WhySettings, layer: str, task: str
) -> Generator[DrawStep, None, list[Explanation]]:
    yield DrawStep(f"{task}, {method.value}", 0, 1)
    network, targets = asked.network, asked.targets_of_inputs
    work = explain(network, asked.images, targets, method, settings, layer)
    heats = yield from mapped(work, lambda passes: DrawStep(f"{task}, {method.value}", *passes))
    explanations = []
    rest = iter(asked.images)
    maps = _merged(asked, [heat.values for heat in heats])
    for view, target, answer, values in zip(asked.views, asked.targets, asked.answers, maps, strict=True):
        heat = Heat(method, target, values)
        inputs = [next(rest) for _ in view.seen]
        trust = None
        if settings.score:
            yield DrawStep(f"{task}, score of {method.value}", len(explanations), len(asked.views))
            found = [
                measure_trust(network, image[None], target, part, batch_size=settings.batch_size)
                for image, part in zip(inputs, view.parts(heat.values), strict=True)
            ]
            trust = Trust(fmean(one.deletion for one in found), fmean(one.insertion for one in found))
        label, shares = target_name(network, target), (float(answer[target.index]), float(answer.max()))
        explanations.append(Explanation(heat, label, *shares, trust))
    return explanations


def _randomize(
    asked: _Asked,
    method: Method,
    settings: WhySettings,
    layers: Sequence[LayerInfo],
    layer: str,
    task: str,
    found: list[Explanation],
) -> Generator[DrawStep, None, list[Explanation]]:
    """Add what the maps are while the weights are random."""
    question = (asked.images, asked.targets_of_inputs, method)
    work = randomized_maps(asked.network, layers, question, settings, layer)
    stages = yield from mapped(work, lambda passes: DrawStep(f"{task}, sanity of {method.value}", *passes))
    merged = [(stage.layer, _merged(asked, list(stage.values))) for stage in stages]
    return [
        replace(
            one,
            sanity=tuple(
                SanityStage(name, maps[number], rank_correlation(one.heat.values, maps[number]))
                for name, maps in merged
            ),
        )
        for number, one in enumerate(found)
    ]


def _write(
    network: Network,
    job: Job,
    view: View,
    explanations: list[Explanation],
    source: str,
    layer: str,
    top: list[tuple[str, float]],
    settings: WhySettings,
) -> list[dict[str, Any]]:
    folder, photo = details_folder(job.output), view.photo()
    pages = why_pages(explanations, view.pixels, f"{job.input.name} · {source}", top, settings)
    outputs = [numbered(job.output, number) for number in range(len(pages))]
    entries: list[dict[str, Any]] = [
        {"output": path, "input": job.input, "kind": "comparison", "page": number + 1}
        for number, path in enumerate(outputs)
    ]
    for one, shown in zip(explanations, shown_maps(explanations, settings), strict=True):
        entries.append(_entry(network, job, one, shown, layer))
        write_image(entries[-1]["output"], overlay_image(shown, photo, settings.alpha))
    if settings.sanity:
        for number, page in enumerate(
            sanity_pages(explanations, view.pixels, f"{job.input.name} · {source}", settings)
        ):
            path = numbered(folder / "sanity.png", number)
            entries.append({"output": path, "input": job.input, "kind": "sanity", "page": number + 1})
            write_image(path, page)
    if settings.raw:
        entries.append({"output": folder / "why.npz", "input": job.input, "kind": "raw"})
        write_arrays(folder / "why.npz", {_file_stem(one): one.heat.values for one in explanations})
    for path, page in list(zip(outputs, pages, strict=True))[::-1]:
        write_image(path, page)  # the first one last, because its presence says that the image is done
    return entries


def _entry(network: Network, job: Job, one: Explanation, shown: ShownMap, layer: str) -> dict[str, Any]:
    target = one.heat.target
    return {
        "output": details_folder(job.output) / f"{_file_stem(one)}.png",
        "input": job.input,
        "kind": "overlay",
        "method": one.heat.method.value,
        "layer": layer if one.heat.method in LAYER_METHODS else None,
        "shape": list(one.heat.values.shape),
        "class": network.class_name(target.index),
        "class_index": target.index,
        "against": None if target.against is None else network.class_name(target.against),
        "probability": one.probability,
        "colors": [shown.scale.low, shown.scale.high],
        "remark": shown.remark or None,
        "sanity": [{"from": stage.layer, "correlation": stage.correlation} for stage in one.sanity] or None,
        "pointing": one.pointing,
        "score": None if one.trust is None else asdict(one.trust) | {"gain": one.trust.gain},
    }


def _file_stem(explanation: Explanation) -> str:
    """A file name that tells method and target apart, such as `gradcam.tiger_cat`."""
    target = explanation.heat.target
    name = re.sub(r"[^\w-]+", "_", explanation.label).strip("_") or "class"
    index = str(target.index) if target.against is None else f"{target.index}-{target.against}"
    return f"{explanation.heat.method.value}.{index}.{name}"
