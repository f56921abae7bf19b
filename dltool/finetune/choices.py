"""What is chosen by the linear probe before the strategy is: the network, and what is done about long images."""

from collections.abc import Generator, Mapping
from dataclasses import replace

import torch

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.lite import LITES
from dltool.backbones.preprocessing import FITS
from dltool.backbones.registry import Backbone, create_backbone
from dltool.data.features import Extracted
from dltool.data.limit import choose_evenly
from dltool.data.splits import FileSplit, Split, units_of
from dltool.finetune.probe import Probe, run_probe
from dltool.finetune.settings import Fit, Strategy
from dltool.finetune.setup import Body, Workbench
from dltool.images.read import read_size
from dltool.training.context import RunContext
from dltool.training.events import Notice

# Photographs are 3 : 2; of what is longer, the square in the middle shows less than cameras' users expect.
_WIDE = 1.52
_LOOKED_AT = 500
_PROBED = 1000
# From here on a better network has nothing to gain.
_ENOUGH = 0.995


def wide_share(split: Split) -> float:
    """The share of (at most 500) images that are longer than 3 : 2, in either direction; only headers are read."""
    if not isinstance(split, FileSplit):
        return 0.0
    chosen = split.take(choose_evenly(split.labels, _LOOKED_AT))
    sizes = [size for size in map(read_size, chosen.paths) if size is not None]
    return sum(max(size) > _WIDE * min(size) for size in sizes) / max(1, len(sizes))


def choose_backbone(
    bench: Workbench, backbone: Backbone, body: Body, context: RunContext
) -> Generator[Extracted | Notice, None, tuple[Backbone, Body]]:
    """Take the larger network that is installed beside the default one, if the probe finds it better.

    Nothing is compared where the default one leaves next to nothing to gain.
    """
    others = [name for name, lite in LITES.items() if lite.is_installed and name != DEFAULT_BACKBONE]
    if bench.settings.strategy not in (Strategy.AUTO, Strategy.FEATURES) or backbone.name != DEFAULT_BACKBONE:
        return backbone, body
    for name in others:
        first = yield from _probe(bench, body)
        if first.accuracy >= _ENOUGH:
            break
        other = create_backbone(name)
        other = replace(other, preprocessing=replace(other.preprocessing, white=body.preprocessing.white))
        larger = Body(other, replace(bench.settings, backbone=name), context, body.multiscale)
        probes = {backbone.name: first, name: (yield from _probe(bench, larger))}
        chosen, said = _better(probes, backbone.name)
        yield Notice(f"a linear probe finds {said}: --backbone {chosen}")
        if chosen == name:
            backbone, body = other, larger
            bench.settings = replace(bench.settings, backbone=name)
    return backbone, body


def choose_fit(
    bench: Workbench, backbone: Backbone, body: Body, context: RunContext
) -> Generator[Extracted | Notice, None, Body]:
    """Settle `--fit` in the bench's settings and return the body that goes with it.

    Where most training images are longer than 3 : 2 the three ways are compared by the linear probe.
    """
    settings = bench.settings
    if settings.fit is not Fit.AUTO:
        return body
    bench.settings = replace(settings, fit=Fit.CROP)
    share = wide_share(bench.dataset.splits["train"])
    if share <= 0.5:
        return body
    long = f"{100 * share:.0f} % of the pictures are longer than 3 : 2, and a square of the middle hides their ends"
    if settings.strategy is Strategy.SCRATCH:
        yield Notice(f"{long}; --fit pad or squash shows all of them")
        return body
    bodies = {fit: Body(backbone, replace(settings, fit=Fit(fit)), context, body.multiscale) for fit in FITS}
    probes = {}
    for fit, each in bodies.items():
        probes[fit] = yield from _probe(bench, each)
    chosen, said = _better(probes, Fit.CROP.value)
    yield Notice(f"{long}; a linear probe finds {said}: --fit {chosen}")
    bench.settings = replace(settings, fit=Fit(chosen))
    return bodies[chosen]


def _better(probes: Mapping[str, Probe], kept: str) -> tuple[str, str]:
    """The best, or `kept` unless that is worse by more than the standard error of its accuracy; figures in words."""
    best = max(probes, key=lambda name: probes[name].accuracy)
    accuracy = probes[kept].accuracy
    error = (accuracy * (1 - accuracy) / probes[kept].samples) ** 0.5
    figures = ", ".join(f"{name} {100 * probe.accuracy:.1f} %" for name, probe in probes.items())
    if probes[best].accuracy > accuracy + error:
        return best, figures
    return kept, f"{figures}, no gain beyond the standard error ({100 * error:.1f})"


def _probe(bench: Workbench, body: Body) -> Generator[Extracted, None, Probe]:
    """Cross-validate a linear layer on (at most 1000) training images."""
    split = bench.dataset.splits["train"]
    split = split.take(choose_evenly(split.labels, _PROBED))
    yield from body.fill(split)
    labels, seed = torch.from_numpy(split.labels), bench.settings.seed
    return run_probe(body.features(split), labels, bench.num_classes, seed, units_of(split))
