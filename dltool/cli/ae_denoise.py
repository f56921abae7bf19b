"""`dltool ae denoise`: noisy images in, clean ones of the same size, bits and transparency out."""

from functools import partial
from typing import Any

import torch

from dltool.cli.console import Console, Progress
from dltool.cli.items import collect_items, report_batch, report_planned, say_unread
from dltool.cli.options import Machine, Outputs
from dltool.cli.signals import stop_requests
from dltool.denoise.denoiser import SHIPPED_DENOISER, Denoiser, load_denoiser
from dltool.denoise.files import DenoisedFile, denoise_files, plan_files
from dltool.denoise.self_supervised import LearnStep
from dltool.denoise.settings import DenoiseFiles, DenoiseSettings, Method, NetworkChoice
from dltool.device import describe_device, select_device, set_threads, use_bf16
from dltool.images.batch import FileDone, FileStep
from dltool.outputs import files_read
from dltool.settings import Typed


def run(
    console: Console,
    typed: Typed,
    files: DenoiseFiles,
    settings: DenoiseSettings,
    network: NetworkChoice,
    outputs: Outputs,
    machine: Machine,
) -> None:
    """Denoise, or say what would be written."""
    typed.refuse(settings.without_effect())
    jobs = plan_files(files, outputs.on_existing, files_read(network))
    say_unread(console, files.images, files.output)
    reported: dict[str, Any] = {**vars(settings), **vars(network), "reference": files.reference}
    if outputs.dry_run:
        machine.check()
    if report_planned(console, jobs, reported, outputs.dry_run):
        return
    with console.progress() as progress, stop_requests() as stop:
        progress.update("loading the network", 0, 1)
        set_threads(machine.threads)
        device = select_device(machine.device, machine.deterministic)
        denoiser = None
        if settings.method is Method.NETWORK:
            denoiser = _load(network, device, settings.ensemble, reported)
            if denoiser.knows_photos:
                typed.refuse({"dither": "with a network that was taught the noise of photographs"})
        workers = 1 if machine.workers is None else machine.workers
        what = (jobs, denoiser, settings, device, workers, files.reference, files.compare)

        def figures(done: DenoisedFile | None) -> dict[str, Any]:
            return {} if done is None else done.figures(settings.takes_all)

        work = denoise_files(*what, should_stop=lambda: bool(stop))
        items = collect_items(work, jobs, partial(_show, progress), figures)
    report_batch(console, items, reported, describe_device(device), stop, len(jobs))


def _load(network: NetworkChoice, device: torch.device, ensemble: bool, reported: dict[str, Any]) -> Denoiser:
    bf16 = use_bf16(network.precision, device, cpu_gains=True)
    reported["precision"] = "bf16" if bf16 else "fp32"
    return load_denoiser(network.model or SHIPPED_DENOISER, device, bf16, ensemble)


def _show(progress: Progress, event: FileStep | FileDone) -> None:
    if isinstance(event, FileDone):
        return
    place = f"{event.number}/{event.count} " if event.count > 1 else ""
    step = event.step
    if isinstance(step, LearnStep):
        progress.update(f"{place}{event.job.output.stem}: learning", step.step, step.steps, f"loss {step.loss:.5f}")
    else:
        progress.update(f"{place}{event.job.output.stem}", step.done, step.total)
