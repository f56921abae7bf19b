"""`dltool ae reconstruct`: what an autoencoder gives back of images, on one sheet, with the errors."""

from itertools import count
from pathlib import Path
from typing import Any

from dltool.autoencoder.autoencoder_file import load_autoencoder
from dltool.autoencoder.reconstruct import Reconstruction
from dltool.autoencoder.reconstruction_files import (
    FIGURES,
    MOST_ON_SHEET,
    ReconstructPlan,
    mean_figures,
    plan_reconstruction,
    write_reconstructions,
)
from dltool.autoencoder.settings import ReconstructSettings
from dltool.cli.console import Console
from dltool.cli.items import report_items
from dltool.cli.options import Machine, Overwriting, Talk
from dltool.cli.signals import stop_requests
from dltool.device import describe_device, select_device, set_threads
from dltool.events import finish
from dltool.settings import Typed


def run(
    console: Console,
    typed: Typed,
    settings: ReconstructSettings,
    outputs: Overwriting,
    machine: Machine,
    talk: Talk,
) -> None:
    """Send images through an autoencoder, or say which."""
    typed.refuse(settings.without_effect())
    plan = plan_reconstruction(settings, outputs.overwrite, [] if talk.config is None else [talk.config])
    reported: dict[str, Any] = {"model": settings.model, "noise": settings.noise, "seed": settings.seed}
    reported |= {"csv": plan.csv, "latents": plan.latents, "interpolate": settings.interpolate}
    if outputs.dry_run:
        machine.check()
        _show_dry_run(console, settings, plan, reported)
        return
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading the model", 0, 1)
        set_threads(machine.threads)
        device = select_device(machine.device)
        autoencoder = load_autoencoder(settings.model)
        workers = 2 if machine.workers is None else machine.workers
        work = write_reconstructions(autoencoder, plan, settings, device, workers, lambda: bool(stop))
        numbers = count(1)
        results = finish(work, lambda _: progress.update("reconstructing", next(numbers), len(plan.images)))
    if stop:
        console.warn(f"stopped with {len(plan.images) - len(results)} of {len(plan.images)} pictures not done")
        stop.leave()
    _report(console, plan, results, reported, describe_device(device))


def _show_dry_run(
    console: Console, settings: ReconstructSettings, plan: ReconstructPlan, reported: dict[str, Any]
) -> None:
    named = f"{len(plan.images)} pictures of {settings.images[0]}"
    for path in [named] if plan.named else plan.images:
        console.result(f"{path} (planned)")
    console.result(f"would write {', '.join(str(path) for path in plan.targets)}")
    items = [{"input": path, "output": plan.sheet, "status": "planned", "error": None} for path in plan.images]
    console.document(reported, None, items=items, counts={"done": 0, "skipped": 0, "failed": 0})


def _report(
    console: Console, plan: ReconstructPlan, results: list[Reconstruction], reported: dict[str, Any], device: str
) -> None:
    if len(results) > MOST_ON_SHEET:
        console.say(f"the sheet shows those of the first {MOST_ON_SHEET} pictures that could be read")
    means = mean_figures(results)
    done = sum(result.error is None for result in results)
    if means is not None and done > 1:
        console.result(f"mean of {done}: mse {means['mse']:.5f}, {means['psnr']:.2f} dB, SSIM {means['ssim']:.4f}")
    sheet = None if means is None else plan.sheet
    outputs = {"sheet": sheet, "csv": plan.csv, "latents": plan.latents, "interpolation": plan.gif}
    items = [_item(result, plan.sheet) for result in results]
    shown = {"line": _line, "list_items": not plan.named}
    report_items(console, items, reported, device, **shown, mean=means, outputs=outputs)


def _item(result: Reconstruction, sheet: Path) -> dict[str, Any]:
    failed = result.error is not None
    return {
        "input": result.path,
        "output": None if failed else sheet,
        "status": "failed" if failed else "done",
        "error": str(result.error) if failed else None,
        "exit_code": result.error.exit_code if result.error is not None else 0,
        **{name: None if failed else getattr(result, name) for name in FIGURES},
    }


def _line(item: dict[str, Any]) -> str:
    if item["status"] != "done":
        return f"{item['input']}: {item['status']}"
    return f"{item['input']}: mse {item['mse']:.5f}, {item['psnr']:.2f} dB, SSIM {item['ssim']:.4f}"
