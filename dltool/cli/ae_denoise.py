"""`dltool ae denoise`: noisy images in, clean ones of the same size, bits and transparency out."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dltool.cli import old_options as options
from dltool.cli.console import Console, Progress
from dltool.cli.items import new_item, report_items
from dltool.cli.old_options import Precision
from dltool.cli.signals import stop_requests
from dltool.denoise.settings import MIN_TILE, DenoiseSettings, Dither, Method, compare_path
from dltool.errors import DataError, SettingsError
from dltool.images.folder import Job, OnExisting, plan_outputs

if TYPE_CHECKING:
    import torch

    from dltool.denoise.denoiser import Denoiser
    from dltool.denoise.files import FileDone, FileStep

_NETWORK, _SELF, _CHECK = "Trained network", "Method self", "Looking at the result"
_DEFAULTS = DenoiseSettings()


def command(
    context: typer.Context,
    images: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE|FOLDER", help="A file for one picture, else a folder.", show_default=False
        ),
    ],
    method: Annotated[
        Method, typer.Option(help="A trained network, or one that learns from each noisy picture alone.")
    ] = Method.NETWORK,
    sigma: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=255,
            help="Noise of this standard deviation is the most to take away; pixels go to 255.",
            show_default="found out",
        ),
    ] = None,
    strength: Annotated[
        float, typer.Option(min=0, max=1, help="Between the noisy picture, 0, and the restored one, 1.")
    ] = _DEFAULTS.strength,
    dither: Annotated[
        Dither, typer.Option(help="Drown in added noise what noise the network took for texture; off: never.")
    ] = Dither.AUTO,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Average over eight flips and turns: better, 8 times slower.")
    ] = False,
    tile: Annotated[
        int, typer.Option(min=MIN_TILE, help="Side in pixels of what is worked on at once: memory.")
    ] = _DEFAULTS.tile,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|RUN",
            help="A model of 'dltool ae train --arch unet'.",
            show_default="the one that comes with dltool",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    precision: options.PrecisionOption = Precision.AUTO,
    steps: Annotated[int, typer.Option(min=1, help="Of learning.", rich_help_panel=_SELF)] = _DEFAULTS.steps,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS|5m", help="The most for learning a picture.", show_default="no end", rich_help_panel=_SELF
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="CLEAN",
            help="The clean picture, or a folder of them by name: PSNR and SSIM.",
            show_default=False,
            rich_help_panel=_CHECK,
        ),
    ] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Also a page of before | after with a magnified detail.", rich_help_panel=_CHECK
        ),
    ] = False,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    dry_run: options.DryRun = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    workers: options.Workers = None,
    seed: options.Seed = 0,
    config: options.Config = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Take the noise out of photos, whatever its strength; size, bits per channel and transparency are kept."""
    console = Console("ae denoise", as_json, quiet)
    settings = DenoiseSettings(
        method, sigma, strength, dither, ensemble, tile, steps, options.parse_seconds(time, "--time"), seed
    )
    typed = options.typed_options(context)
    for name in ("steps", "time") if method is Method.NETWORK else ("model", "precision", "dither"):
        if name in typed:
            raise SettingsError(f"{typed[name]}: has no effect with --method {method.value}")
    if reference is not None and not reference.exists():
        raise DataError(f"--reference {reference}: no such file or folder")
    on_existing = options.on_existing(overwrite, skip_existing)
    protected = [path for path in (model, reference, config) if path is not None]
    jobs = plan_outputs(images, output, ".png", on_existing, protected, share=options.process_rank())
    if compare:
        _check_pages(jobs, on_existing)
    reported: dict[str, Any] = {**vars(settings), "model": model, "precision": precision, "reference": reference}
    if dry_run:
        options.check_choices(device)
    if dry_run or all(job.exists for job in jobs):
        items = [new_item(job, "skipped" if job.exists else "planned") for job in jobs]
        report_items(console, items, reported, None)
        return
    items = []
    with console.progress() as progress, stop_requests() as stop:
        progress.update("loading the network", 0, 1)
        from dltool.denoise.files import denoise_files
        from dltool.device import describe_device, select_device, set_threads

        set_threads(threads)
        chosen = select_device(device)
        denoiser = None
        if method is Method.NETWORK:
            denoiser = _load(model, chosen, precision, ensemble, reported)
        what = (jobs, denoiser, settings, chosen, 1 if workers is None else workers, reference, compare)
        for event in denoise_files(*what, should_stop=lambda: bool(stop)):
            _show(event, progress, items)
    order = {job.output: index for index, job in enumerate(jobs)}
    items.sort(key=lambda item: order[item["output"]])  # a failed read is told before the write before it
    if not stop:
        report_items(console, items, reported, describe_device(chosen))
        return
    console.warn(f"stopped with {len(jobs) - len(items)} of {len(jobs)} pictures not done; --skip-existing goes on")
    with suppress(typer.Exit):
        report_items(console, items, reported, describe_device(chosen), error="interrupted")
    raise typer.Exit(stop.exit_code)


def _load(
    model: Path | None, device: "torch.device", precision: Precision, ensemble: bool, reported: dict[str, Any]
) -> "Denoiser":
    from dltool.denoise.denoiser import SHIPPED_DENOISER, load_denoiser
    from dltool.device import use_bf16

    bf16 = use_bf16(precision.value, device, cpu_gains=True)
    reported["precision"] = "bf16" if bf16 else "fp32"
    return load_denoiser(SHIPPED_DENOISER if model is None else model, device, bf16, ensemble)


def _check_pages(jobs: list[Job], on_existing: OnExisting) -> None:
    """The pages of before and after must not be there either, nor be somebody else's."""
    taken = {job.output for job in jobs} | {job.input for job in jobs}
    for job in jobs:
        page = compare_path(job.output)
        if page in taken:
            raise SettingsError(f"{page}: would be written twice; choose another -o")
        taken.add(page)
        if page.exists() and on_existing is OnExisting.ERROR:
            raise SettingsError(f"{page}: output exists; give --overwrite or --skip-existing")


def _show(event: "FileStep | FileDone", progress: Progress, items: list[dict[str, Any]]) -> None:
    """Take one event into the progress display or into the report's items."""
    if not hasattr(event, "step"):
        items.append(_done_item(event))
        return
    place = f"{event.number}/{event.count} " if event.count > 1 else ""
    step = event.step
    if hasattr(step, "loss"):
        progress.update(f"{place}{event.job.output.stem}: learning", step.step, step.steps, f"loss {step.loss:.5f}")
    else:
        progress.update(f"{place}{event.job.output.stem}", step.done, step.total)


def _done_item(event: "FileDone") -> dict[str, Any]:
    item = new_item(event.job, event.status, event.error)
    if event.result is None:
        return item
    noise = event.result.noise
    found = {"sigma": round(255 * noise.fine, 2), "coarse_sigma": round(255 * noise.coarse, 2)}
    item |= {
        "size": event.size,
        "bits": event.bits,
        "seconds": round(event.result.seconds, 3),
        "noise": found,
        "dither": round(255 * event.result.dither, 2),
    }
    notes = [f"noise level {found['sigma']:.1f}"]
    if event.result.dither:
        notes = [f"noise level {found['coarse_sigma']:.1f} at half the size, dithered"]
    if event.before is not None and event.after is not None:
        item["psnr"] = {"before": event.before.psnr, "after": event.after.psnr}
        item["ssim"] = {"before": event.before.ssim, "after": event.after.ssim}
        notes.append(f"PSNR {event.before.psnr:.2f} -> {event.after.psnr:.2f} dB")
        notes.append(f"SSIM {event.before.ssim:.4f} -> {event.after.ssim:.4f}")
    item["note"] = ", ".join(notes)
    return item
