"""`dltool ae reconstruct`: what an autoencoder gives back of images, on one sheet, with the errors."""

import csv
import io
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dltool.cli import old_options as options
from dltool.cli.console import Console, Progress
from dltool.cli.data_options import DataRoot
from dltool.cli.items import report_items
from dltool.cli.signals import StopRequest, stop_requests
from dltool.errors import SettingsError
from dltool.files import write_atomically
from dltool.images.folder import list_images
from dltool.images.formats import WRITABLE, image_format

if TYPE_CHECKING:
    import numpy as np

    from dltool.autoencoder.autoencoder_file import TrainedAutoencoder
    from dltool.autoencoder.reconstruct import Reconstruction

_MOST_ON_SHEET = 60
_FIGURES = ("mse", "psnr", "ssim")


def command(
    model: Annotated[Path, typer.Argument(help="A model file, or a run's folder.", show_default=False)],
    images: Annotated[
        list[Path], typer.Argument(help="Pictures, folders of them, or a set by name.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE|FOLDER", help="The sheet, or a folder for it.")
    ],
    noise: Annotated[
        str,
        typer.Option(metavar="LAW[:STRENGTH]", help="Add noise before the network sees the pictures; as in ae train."),
    ] = "none",
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write a table: a row per picture.", show_default=False),
    ] = None,
    latents: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npy", help="Write the codes: pictures x latent_dim.", show_default=False),
    ] = None,
    interpolate: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A B", help="Also a GIF of the way from one picture's code to another's."),
    ] = None,
    frames: Annotated[int, typer.Option(min=2, help="Frames from A to B.")] = 24,
    limit: Annotated[int, typer.Option(min=0, help="Use only so many pictures; 0: all.")] = 0,
    data_root: DataRoot = Path("data"),
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    workers: options.Workers = None,
    seed: options.Seed = 0,
    config: options.Config = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Send images through an autoencoder: originals beside what comes back, errors, codes."""
    console = Console("ae reconstruct", as_json, quiet)
    is_file = output.suffix.lower() in WRITABLE and not output.is_dir()
    sheet = output if is_file else output / "reconstructions.png"
    gif = None if interpolate is None else (output.with_suffix(".gif") if is_file else output / "interpolation.gif")
    if latents is not None and latents.suffix != ".npy":
        raise SettingsError(f"--latents {latents}: a .npy file is needed")
    if not is_file and output.suffix and not output.exists() and len(images) == 1 and not images[0].is_dir():
        image_format(output)  # "-o sheet.xyz" is a mistyped file name rather than a folder
    named = _named_set(images, data_root, limit)
    photos = list(named) or [path for path, _ in list_images(images, exclude=None if is_file else output)]
    photos = photos[:limit] if limit else photos
    read = [*photos, model, model / "model.safetensors", *(interpolate or ())]
    _check_targets({"-o": sheet, "--csv": csv_file, "--latents": latents, "--interpolate": gif}, read, overwrite)
    settings: dict[str, Any] = {"model": model, "noise": noise, "seed": seed, "csv": csv_file, "latents": latents}
    settings["interpolate"] = interpolate
    if dry_run:
        options.check_choices(device)
        for path in [f"{len(photos)} pictures of {images[0]}"] if named else photos:
            console.result(f"{path} (planned)")
        console.result(f"would write {', '.join(str(p) for p in (sheet, csv_file, latents, gif) if p is not None)}")
        items = [{"input": path, "output": sheet, "status": "planned", "error": None} for path in photos]
        console.document(settings, None, items=items, counts={"done": 0, "skipped": 0, "failed": 0})
        return
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading the model", 0, 1)
        from dltool.autoencoder.autoencoder_file import load_autoencoder
        from dltool.device import describe_device, select_device, set_threads

        set_threads(threads)
        chosen = select_device(device)
        autoencoder = load_autoencoder(model)
        if latents is not None and autoencoder.arch == "unet":
            raise SettingsError(f"--latents: {model} is a unet, which has no code; train conv or stacked")
        if interpolate is not None and gif is not None:
            _write_interpolation(gif, autoencoder, interpolate, frames, str(chosen), named)
        count = 2 if workers is None else workers
        results = _reconstruct(autoencoder, photos, named, str(chosen), count, noise, seed, progress, stop)
        items = [_item(result, sheet) for result in results]
        done = [result for result in results if result.error is None]
        if any(result.original is not None for result in done):
            _write_sheet(sheet, done, noise)
        if latents is not None and done:
            _write_latents(latents, done)
    if csv_file is not None:
        write_atomically(csv_file, _table(items).encode())
    if stop:
        console.warn(f"stopped with {len(photos) - len(items)} of {len(photos)} pictures not done")
        stop.leave()
    if len(results) > _MOST_ON_SHEET:
        console.say(f"the sheet shows those of the first {_MOST_ON_SHEET} pictures that could be read")
    means = {name: sum(getattr(r, name) for r in done) / len(done) for name in _FIGURES} if done else None
    outputs = {"sheet": sheet if done else None, "csv": csv_file, "latents": latents, "interpolation": gif}
    if means is not None and len(done) > 1:
        console.result(f"mean of {len(done)}: mse {means['mse']:.5f}, {means['psnr']:.2f} dB, SSIM {means['ssim']:.4f}")
    more = {"line": _line, "list_items": not named, "mean": means, "outputs": outputs}
    report_items(console, items, settings, describe_device(chosen), **more)


def _named_set(images: list[Path], root: Path, limit: int) -> "dict[Path, np.ndarray]":
    """The images of the built-in set that is named instead of files; empty if none is."""
    from dltool.data.builtin import is_builtin

    if len(images) > 1 or not is_builtin(str(images[0])):
        return {}
    from dltool.autoencoder.reconstruct import named_images

    return named_images(str(images[0]), root, limit)


def _read(named: "dict[Path, np.ndarray]", path: Path) -> "np.ndarray":
    from dltool.images.read import read_image

    return named[path] if path in named else read_image(path).pixels


def _check_targets(targets: dict[str, Path | None], read: list[Path], overwrite: bool) -> None:
    """Raise SettingsError if a target is read, too, exists and may not be overwritten, is a folder, or named twice."""
    seen: dict[Path, str] = {}
    inputs = {path.resolve() for path in read}
    for name, path in targets.items():
        if path is None:
            continue
        if path.is_dir():
            raise SettingsError(f"{name} {path}: a folder, but a file is needed")
        if path.resolve() in inputs:
            raise SettingsError(f"{name} {path}: the output would overwrite an input; choose another name")
        if path.exists() and not overwrite:
            raise SettingsError(f"{name} {path}: output exists; give --overwrite")
        if path in seen:
            raise SettingsError(f"{name} {path}: is what {seen[path]} writes, too")
        seen[path] = name


def _reconstruct(
    autoencoder: "TrainedAutoencoder",
    images: list[Path],
    named: "dict[Path, np.ndarray]",
    device: str,
    workers: int,
    noise: str,
    seed: int,
    progress: Progress,
    stop: StopRequest,
) -> list["Reconstruction"]:
    import torch

    from dltool.autoencoder.noise import parse_noise
    from dltool.autoencoder.reconstruct import reconstruct_files

    results = []
    law = parse_noise(noise)
    target = torch.device(device)
    read = partial(_read, named)
    with closing(reconstruct_files(autoencoder, images, target, workers, law, seed, read)) as events:
        for result in events:
            if len(results) >= _MOST_ON_SHEET:  # only its figures and its code are still needed
                result = replace(result, original=None, input=None, output=None)
            results.append(result)
            progress.update("reconstructing", len(results), len(images))
            if stop:
                break
    return results


def _write_sheet(path: Path, done: list["Reconstruction"], noise: str) -> None:
    from dltool.autoencoder.sheets import reconstruction_sheet
    from dltool.images.write import write_image

    shown = [result for result in done if result.original is not None]
    write_image(path, reconstruction_sheet(shown, noisy=noise != "none"))


def _write_latents(path: Path, done: list["Reconstruction"]) -> None:
    import numpy as np
    import torch

    buffer = io.BytesIO()
    np.save(buffer, torch.stack([result.code for result in done if result.code is not None]).numpy())
    write_atomically(path, buffer.getvalue())


def _write_interpolation(
    path: Path,
    autoencoder: "TrainedAutoencoder",
    ends: tuple[Path, Path],
    frames: int,
    device: str,
    named: "dict[Path, np.ndarray]",
) -> None:
    from dltool.autoencoder.reconstruct import interpolate, prepare
    from dltool.autoencoder.sheets import enlarge
    from dltool.images.write import write_gif

    autoencoder.module.to(device)
    first, second = (prepare(autoencoder, _read(named, end)) for end in ends)
    there = [enlarge(image) for image in interpolate(autoencoder, first, second, frames)]
    write_gif(path, [*there, *there[-2:0:-1]], 0.08)


def _item(result: "Reconstruction", sheet: Path) -> dict[str, Any]:
    failed = result.error is not None
    return {
        "input": result.path,
        "output": None if failed else sheet,
        "status": "failed" if failed else "done",
        "error": str(result.error) if failed else None,
        "exit_code": result.error.exit_code if result.error is not None else 0,
        **{name: None if failed else getattr(result, name) for name in _FIGURES},
    }


def _line(item: dict[str, Any]) -> str:
    if item["status"] != "done":
        return f"{item['input']}: {item['status']}"
    return f"{item['input']}: mse {item['mse']:.5f}, {item['psnr']:.2f} dB, SSIM {item['ssim']:.4f}"


def _table(items: list[dict[str, Any]]) -> str:
    """CSV with a row per image: input, status, error, mse, psnr, ssim."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["input", "status", "error", *_FIGURES])
    for item in items:
        figures = ["" if item[name] is None else f"{item[name]:.6f}" for name in _FIGURES]
        writer.writerow([item["input"], item["status"], item["error"] or "", *figures])
    return buffer.getvalue()
