"""`dltool gan evaluate`: figures of a generator's images, or of a folder's, with everything they depend on."""

from typing import Any

from dltool.cli.console import Console
from dltool.cli.items import left_out
from dltool.cli.options import Machine, OverwriteOnly
from dltool.cli.signals import stop_requests
from dltool.cli.training import follow
from dltool.device import describe_device, select_device, set_threads
from dltool.gan.evaluate import Evaluation, check_sheet, evaluate_samples
from dltool.gan.evaluate_settings import EvaluateSettings, RealData
from dltool.gan.nearest import nearest_sheet
from dltool.images.write import write_image
from dltool.settings import Typed

_TASKS = {"Checked": "checking the data", "Drawn": "drawing samples", "Extracted": "computing features"}
_SHOWN = ("samples", "split", "extractor", "weights", "fid_weights", "input_size", "size", "seed")


def run(
    console: Console,
    typed: Typed,
    settings: EvaluateSettings,
    data: RealData,
    outputs: OverwriteOnly,
    machine: Machine,
) -> None:
    """Measure how near generated images are to real ones."""
    without_effect = data.without_effect() | ({} if settings.sheet else {"overwrite": "without --sheet"})
    if settings.is_folder:
        without_effect.pop("on_bad", None)  # it is about that folder, too
    for line in typed.refuse(without_effect):
        console.say(f"note: {line}")
    check_sheet(settings, data, outputs.overwrite)
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading", 0, 1)
        set_threads(machine.threads)
        device = select_device(machine.device, machine.deterministic)

        def show(event: Any) -> None:
            if stop:
                stop.leave()
            progress.update(_TASKS[type(event).__name__], event.done, event.total)

        evaluation = follow(evaluate_samples(data, settings, device, machine.reading_threads), show)
    _report(console, settings, data, evaluation, describe_device(device))


def _report(console: Console, settings: EvaluateSettings, data: RealData, evaluation: Evaluation, device: str) -> None:
    comparison = evaluation.comparison
    for line in comparison.lines:
        console.result(line)
    if evaluation.floor is not None:
        console.result(f"training pictures in their place: {', '.join(evaluation.floor.lines)}")
    for line in evaluation.describe(settings.model, data.source):
        console.result(line)
    console.unreadable = evaluation.left_out
    nearest = _write_sheet(console, settings, evaluation)
    for line in evaluation.warnings:
        console.warn(line)
    if comparison.refusal:
        missing = "no Fréchet distance" if comparison.kid else "neither Fréchet distance nor KID"
        console.warn(f"{missing}: {comparison.refusal}; --extractor BACKBONE:LAYER takes fewer, and KID 10")
    for line in left_out(evaluation.left_out):
        console.say(line)
    shown = {"source": settings.model, "data": data.source, "limit": data.limit}
    console.document(
        shown | {name: getattr(settings, name) for name in _SHOWN},
        device,
        **evaluation.figures(settings.weights),
        nearest=nearest,
        sheet=settings.sheet,
    )


def _write_sheet(
    console: Console, settings: EvaluateSettings, evaluation: Evaluation
) -> dict[str, dict[str, float]] | None:
    """Draw the samples beside their nearest training images, where that is asked for; return the distances."""
    if settings.sheet is None:
        return None
    write_image(settings.sheet, nearest_sheet(evaluation.nearest))
    distances = {"samples": evaluation.nearest.spread}
    text = f"nearest training picture: median distance {distances['samples']['median']:.3f}"
    if evaluation.held_out is not None:
        distances["held_out"] = evaluation.held_out.spread
        text += f" (of held-out pictures {distances['held_out']['median']:.3f})"
    console.result(f"{text}, least {distances['samples']['least']:.3f}; {settings.sheet}")
    return distances
