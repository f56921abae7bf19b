"""`dltool gan sample`: images from a trained generator, as one grid, as files, or as a walk between them."""

from collections.abc import Callable
from pathlib import Path

import torch

from dltool.cli.console import Console
from dltool.cli.items import collect_items, report_batch, report_planned
from dltool.cli.options import Outputs, Processor
from dltool.cli.signals import stop_requests
from dltool.device import describe_device, select_device, set_threads
from dltool.gan.generator_file import TrainedGenerator, load_generator
from dltool.gan.sample_files import plan_samples, write_samples
from dltool.gan.sample_settings import SampleSettings
from dltool.images.batch import FileDone
from dltool.settings import Typed

_SHOWN = ("columns", "truncation", "interpolate", "frames", "scale")


def run(console: Console, typed: Typed, settings: SampleSettings, outputs: Outputs, machine: Processor) -> None:
    """Draw images, or say which."""
    draw(console, typed, settings, outputs, machine, load_generator)


def draw(
    console: Console,
    typed: Typed,
    settings: SampleSettings,
    outputs: Outputs,
    machine: Processor,
    load: Callable[[Path, torch.device], TrainedGenerator],
) -> None:
    """The same with any kind of generator, which `load` reads."""
    for line in typed.refuse(settings.without_effect()):
        console.say(f"note: {line}")
    set_threads(machine.threads)
    device = select_device(machine.device, machine.deterministic)
    generator = load(settings.model, device)
    plan = plan_samples(generator, settings, outputs.on_existing)
    shown = {"seeds": plan.seeds, "classes": settings.classes or ()}
    shown |= {name: getattr(settings, name) for name in _SHOWN}
    if outputs.dry_run:
        report_planned(console, plan.jobs, shown, True)
        return
    done = 0
    with stop_requests() as stop, console.progress() as progress:

        def show(end: FileDone) -> None:
            nonlocal done
            done += 1
            progress.update("drawing", done, len(plan.jobs))

        work = write_samples(generator, plan, settings, lambda: bool(stop))
        items = collect_items(work, plan.jobs, show, lambda sampled: sampled.figures if sampled else {})
    what = (console, items, shown, describe_device(device), stop, len(plan.jobs))
    report_batch(*what, metrics=generator.metrics)
