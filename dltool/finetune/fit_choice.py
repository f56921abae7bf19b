"""`--fit auto`: whether images that are far from square are cropped, padded or squashed, measured where it matters."""

from collections.abc import Generator
from dataclasses import replace

import torch

from dltool.backbones.preprocessing import FITS
from dltool.backbones.registry import Backbone
from dltool.data.features import Extracted
from dltool.data.limit import choose_evenly
from dltool.data.splits import FileSplit, Split
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


def wide_share(split: Split) -> float:
    """The share of (at most 500) images that are longer than 3 : 2, in either direction; only headers are read."""
    if not isinstance(split, FileSplit):
        return 0.0
    chosen = split.take(choose_evenly(split.labels, _LOOKED_AT))
    sizes = [size for size in map(read_size, chosen.paths) if size is not None]
    return sum(max(size) > _WIDE * min(size) for size in sizes) / max(1, len(sizes))


def choose_fit(
    bench: Workbench, backbone: Backbone, body: Body, context: RunContext
) -> Generator[Extracted | Notice, None, Body]:
    """Settle `--fit` in the bench's settings and return the body that goes with it.

    Where most training images are longer than 3 : 2 the three ways are compared by the linear probe, and another way
    than cropping is taken where it is better by more than the standard error of the accuracy.
    """
    settings = bench.settings
    if settings.fit is not Fit.AUTO:
        return body
    bench.settings = replace(settings, fit=Fit.CROP)
    split = bench.dataset.splits["train"]
    share = wide_share(split)
    if share <= 0.5:
        return body
    said = (
        f"{100 * share:.0f} % of the pictures are longer than 3 : 2, and a square cut from the middle hides their ends"
    )
    if settings.strategy is Strategy.SCRATCH:
        yield Notice(f"{said}; --fit pad or squash shows all of them")
        return body
    bodies = {fit: Body(backbone, replace(settings, fit=Fit(fit)), context, body.multiscale) for fit in FITS}
    probes = {}
    for fit, each in bodies.items():
        probes[fit] = yield from _probe(bench, split.take(choose_evenly(split.labels, _PROBED)), each)
    best = max(FITS, key=lambda fit: probes[fit].accuracy)
    crop = probes["crop"]
    error = (crop.accuracy * (1 - crop.accuracy) / crop.samples) ** 0.5
    chosen = best if probes[best].accuracy > crop.accuracy + error else "crop"
    figures = ", ".join(f"{fit} {100 * probe.accuracy:.1f} %" for fit, probe in probes.items())
    why = "" if chosen != "crop" else f", as none is better by more than the standard error ({100 * error:.1f})"
    yield Notice(f"{said}; a linear probe finds {figures}: --fit {chosen}{why}")
    bench.settings = replace(settings, fit=Fit(chosen))
    return bodies[chosen]


def _probe(bench: Workbench, split: Split, body: Body) -> Generator[Extracted, None, Probe]:
    yield from body.fill(split)
    return run_probe(body.features(split), torch.from_numpy(split.labels), bench.num_classes, bench.settings.seed)
