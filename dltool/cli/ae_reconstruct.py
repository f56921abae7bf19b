"""`dltool ae reconstruct`: what an autoencoder gives back of images, on one sheet, with the errors."""

from functools import partial
from pathlib import Path
from typing import Any

from dltool.autoencoder.autoencoder_file import load_autoencoder
from dltool.autoencoder.reconstruct import Reconstruction
from dltool.autoencoder.reconstruction_files import (
    FIGURES,
    MOST_ON_SHEET,
    SCORES,
    ReconstructPlan,
    mean_figures,
    plan_reconstruction,
    what_was_found,
    write_reconstructions,
)
from dltool.autoencoder.settings import ReconstructSettings
from dltool.cli.console import Console
from dltool.cli.items import collect_items, report_batch, report_planned, say_unread
from dltool.cli.options import Machine, Overwriting
from dltool.cli.signals import stop_requests
from dltool.device import describe_device, select_device, set_threads
from dltool.images.batch import FileDone
from dltool.settings import Typed, as_plain


def run(
    console: Console,
    typed: Typed,
    settings: ReconstructSettings,
    outputs: Overwriting,
    machine: Machine,
) -> None:
    """Send images through an autoencoder, or say which."""
    typed.refuse(settings.without_effect())
    plan = plan_reconstruction(settings, outputs.overwrite)
    say_unread(console, settings.images, settings.output)
    reported: dict[str, Any] = {"model": settings.model, "noise": settings.noise, "seed": settings.seed}
    reported |= {"csv": plan.csv, "latents": plan.latents, "interpolate": settings.interpolate}
    if outputs.dry_run:
        machine.check()
        _show_dry_run(console, settings, plan, reported)
        return
    ends: list[FileDone] = []
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading the model", 0, 1)
        set_threads(machine.threads)
        device = select_device(machine.device, machine.deterministic)
        autoencoder = load_autoencoder(settings.model)
        workers = machine.reading_threads

        def show(end: FileDone) -> None:
            ends.append(end)
            progress.update("reconstructing", len(ends), len(plan.images))

        work = write_reconstructions(autoencoder, plan, settings, device, workers, lambda: bool(stop))
        items = collect_items(work, plan.jobs, show, partial(_figures, plan.sheet))
    results = [end.result for end in ends if end.result is not None]
    means = mean_figures(results)
    _say_means(console, items, means)
    found = what_was_found(autoencoder, plan, settings.normal, results)
    if found is not None:
        console.result(found.line)
    written = {"sheet": None if means is None else plan.sheet, "csv": plan.csv}
    written |= {"latents": plan.latents, "interpolation": plan.gif}
    what = (console, items, reported, describe_device(device), stop, len(plan.images), "")
    report_batch(
        *what, line=_line, list_items=not plan.named, mean=means, anomaly=found and as_plain(found), outputs=written
    )


def _show_dry_run(
    console: Console, settings: ReconstructSettings, plan: ReconstructPlan, reported: dict[str, Any]
) -> None:
    if plan.named:
        console.result(f"{len(plan.images)} pictures of {settings.images[0]} (planned)")
    line = "{input} (planned)".format_map
    how = {"line": line, "list_items": not plan.named}
    report_planned(console, plan.jobs, reported, True, lambda _: {"output": plan.sheet}, **how)
    console.result(f"would write {', '.join(str(path) for path in plan.targets)}")


def _say_means(console: Console, items: list[dict[str, Any]], means: dict[str, float] | None) -> None:
    if len(items) > MOST_ON_SHEET:
        console.say(f"the sheet shows those of the first {MOST_ON_SHEET} pictures that could be read")
    done = sum(item["status"] == "done" for item in items)
    if means is not None and done > 1:
        console.result(f"mean of {done}: mse {means['mse']:.5f}, {means['psnr']:.2f} dB, SSIM {means['ssim']:.4f}")


def _figures(sheet: Path, result: Reconstruction | None) -> dict[str, Any]:
    if result is None:
        return dict.fromkeys(FIGURES)
    shown = FIGURES if result.score is None else (*FIGURES, *SCORES)
    return {"output": sheet, **{name: getattr(result, name) for name in shown}}


def _line(item: dict[str, Any]) -> str:
    line = f"{item['input']}: mse {item['mse']:.5f}, {item['psnr']:.2f} dB, SSIM {item['ssim']:.4f}"
    if item.get("score") is None:
        return line
    return f"{line}, score {item['score']:.3f}{' (unlike the images of training)' if item['anomaly'] else ''}"
