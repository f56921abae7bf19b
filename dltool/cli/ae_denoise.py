"""`dltool ae denoise`: noisy images in, clean ones of the same size, bits and transparency out."""

from contextlib import suppress
from typing import Any

import torch
import typer

from dltool.cli.console import Console, Progress
from dltool.cli.items import new_item, report_items
from dltool.cli.options import Machine, Outputs, Talk
from dltool.cli.signals import stop_requests
from dltool.denoise.denoiser import SHIPPED_DENOISER, Denoiser, load_denoiser
from dltool.denoise.files import DenoisedFile, denoise_files, plan_files
from dltool.denoise.self_supervised import LearnStep
from dltool.denoise.settings import DenoiseFiles, DenoiseSettings, Method, NetworkChoice
from dltool.device import describe_device, select_device, set_threads, use_bf16
from dltool.images.batch import FileDone, FileStep
from dltool.settings import Typed


def run(
    console: Console,
    typed: Typed,
    files: DenoiseFiles,
    settings: DenoiseSettings,
    network: NetworkChoice,
    outputs: Outputs,
    machine: Machine,
    talk: Talk,
) -> None:
    """Denoise, or say what would be written."""
    typed.refuse(settings.without_effect())
    read_too = [path for path in (network.model, talk.config) if path is not None]
    jobs = plan_files(files, outputs.on_existing, read_too)
    reported: dict[str, Any] = {**vars(settings), **vars(network), "reference": files.reference}
    if outputs.dry_run:
        machine.check()
    if outputs.dry_run or all(job.exists for job in jobs):
        report_items(console, [new_item(job, "skipped" if job.exists else "planned") for job in jobs], reported, None)
        return
    items: list[dict[str, Any]] = []
    with console.progress() as progress, stop_requests() as stop:
        progress.update("loading the network", 0, 1)
        set_threads(machine.threads)
        device = select_device(machine.device)
        denoiser = None
        if settings.method is Method.NETWORK:
            denoiser = _load(network, device, settings.ensemble, reported)
        workers = 1 if machine.workers is None else machine.workers
        what = (jobs, denoiser, settings, device, workers, files.reference, files.compare)
        for event in denoise_files(*what, should_stop=lambda: bool(stop)):
            _show(event, progress, items)
    order = {job.output: index for index, job in enumerate(jobs)}
    items.sort(key=lambda item: order[item["output"]])  # a failed read is told before the write before it
    if not stop:
        report_items(console, items, reported, describe_device(device))
        return
    console.warn(f"stopped with {len(jobs) - len(items)} of {len(jobs)} pictures not done; --skip-existing goes on")
    with suppress(typer.Exit):
        report_items(console, items, reported, describe_device(device), error="interrupted")
    raise typer.Exit(stop.exit_code)


def _load(network: NetworkChoice, device: torch.device, ensemble: bool, reported: dict[str, Any]) -> Denoiser:
    bf16 = use_bf16(network.precision, device, cpu_gains=True)
    reported["precision"] = "bf16" if bf16 else "fp32"
    return load_denoiser(network.model or SHIPPED_DENOISER, device, bf16, ensemble)


def _show(event: FileStep | FileDone, progress: Progress, items: list[dict[str, Any]]) -> None:
    """Take one event into the progress display or into the report's items."""
    if isinstance(event, FileDone):
        items.append(_done_item(event))
        return
    place = f"{event.number}/{event.count} " if event.count > 1 else ""
    step = event.step
    if isinstance(step, LearnStep):
        progress.update(f"{place}{event.job.output.stem}: learning", step.step, step.steps, f"loss {step.loss:.5f}")
    else:
        progress.update(f"{place}{event.job.output.stem}", step.done, step.total)


def _done_item(event: FileDone) -> dict[str, Any]:
    item = new_item(event.job, event.status, event.error)
    if event.result is None:
        return item
    done: DenoisedFile = event.result
    noise = done.image.noise
    found = {"sigma": round(255 * noise.fine, 2), "coarse_sigma": round(255 * noise.coarse, 2)}
    item |= {
        "size": done.size,
        "bits": done.bits,
        "seconds": round(done.image.seconds, 3),
        "noise": found,
        "dither": round(255 * done.image.dither, 2),
    }
    notes = [f"noise level {found['sigma']:.1f}"]
    if done.image.dither:
        notes = [f"noise level {found['coarse_sigma']:.1f} at half the size, dithered"]
    if done.before is not None and done.after is not None:
        item["psnr"] = {"before": done.before.psnr, "after": done.after.psnr}
        item["ssim"] = {"before": done.before.ssim, "after": done.after.ssim}
        notes.append(f"PSNR {done.before.psnr:.2f} -> {done.after.psnr:.2f} dB")
        notes.append(f"SSIM {done.before.ssim:.4f} -> {done.after.ssim:.4f}")
    item["note"] = ", ".join(notes)
    return item
