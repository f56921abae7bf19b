"""`dltool ae train`: a folder of images in, an autoencoder or a denoiser out."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dltool.autoencoder.settings import (
    AeSettings,
    Arch,
    Augment,
    Color,
    Loss,
    Optimizer,
    ignored,
    option,
)
from dltool.cli import old_options as options
from dltool.cli.ae_watch import Watcher, describe_data, describe_measured, result_fields
from dltool.cli.console import Console, Progress
from dltool.cli.data_options import DataRoot, Download, Limit, OnBad, OnBadOption
from dltool.cli.old_training import RunPlace, run_training, stored_settings
from dltool.cli.signals import StopRequest
from dltool.errors import SettingsError
from dltool.settings import as_plain

if TYPE_CHECKING:
    from dltool.autoencoder.train import AeResult
    from dltool.training.context import RunContext

_D = AeSettings()
_NETWORK, _TRAINING, _DATA, _OUTPUT = "Network", "Training", "Data", "Output"


def command(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            help="A folder of pictures, or digits, mnist, fashion-mnist, cifar10.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="The run's folder.")],
    arch: Annotated[Arch, typer.Option(help="Dense or convolutional through a code, or a residual U-Net.")] = _D.arch,
    noise: Annotated[
        str,
        typer.Option(
            metavar="LAW[:STRENGTH]",
            help="What the network sees instead of the clean picture: none, gaussian:0.5, gaussian:0-55/255, poisson, "
            "speckle, salt-pepper:0.1, mask:0.25.",
        ),
    ] = _D.noise,
    latent_dim: Annotated[
        int, typer.Option(min=1, help="Width of the code of stacked and conv.", rich_help_panel=_NETWORK)
    ] = _D.latent_dim,
    channels: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,…",
            help="Channels of unet's levels, from fine to coarse.",
            show_default="32,64,96,128",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    blocks: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Residual blocks on a way through a level of unet.",
            show_default="1",
            rich_help_panel=_NETWORK,
        ),
    ] = _D.blocks,
    color: Annotated[
        Color, typer.Option(help="Channels; auto: grey where every picture is.", rich_help_panel=_NETWORK)
    ] = _D.color,
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Side in pixels that whole pictures are cut and scaled to.",
            show_default="their own where small and all alike, else 64",
            rich_help_panel=_NETWORK,
        ),
    ] = _D.size,
    loss: Annotated[
        Loss | None,
        typer.Option(help="Against the clean picture.", show_default="mse; unet l1", rich_help_panel=_TRAINING),
    ] = _D.loss,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the pictures.", show_default="20; unet 100", rich_help_panel=_TRAINING),
    ] = _D.epochs,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Samples per step.", show_default="64; unet 16", rich_help_panel=_TRAINING),
    ] = _D.batch_size,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Peak of the one-cycle learning rate.", show_default="3e-3; unet 2e-3", rich_help_panel=_TRAINING
        ),
    ] = _D.lr,
    optimizer: Annotated[
        Optimizer | None,
        typer.Option(
            help="What moves the weights.", show_default="muon for unet, else adam", rich_help_panel=_TRAINING
        ),
    ] = _D.optimizer,
    clip: Annotated[
        float, typer.Option(help="Largest norm of the gradient; 0: any.", rich_help_panel=_TRAINING)
    ] = _D.clip,
    ema: Annotated[
        float | None,
        typer.Option(
            help="Half-life, in samples, of the average of the weights that is kept; 0: none.",
            show_default="10000; unet 5000",
            rich_help_panel=_TRAINING,
        ),
    ] = _D.ema,
    patch_size: Annotated[
        int, typer.Option(min=8, help="Side of unet's random crops.", rich_help_panel=_TRAINING)
    ] = _D.patch_size,
    crops_per_image: Annotated[
        int, typer.Option(min=1, help="Crops of each photo per epoch.", rich_help_panel=_TRAINING)
    ] = _D.crops_per_image,
    augment: Annotated[
        Augment,
        typer.Option(help="auto turns and mirrors crops, and leaves whole pictures alone.", rich_help_panel=_TRAINING),
    ] = _D.augment,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="5m|1h",
            help="Train at most this long; the schedule ends with it.",
            show_default=False,
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    val: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.99,
            help="Share of the pictures to hold out.",
            show_default="0.1, at most 5000, where there is no val/",
            rich_help_panel=_DATA,
        ),
    ] = None,
    on_bad: OnBadOption = OnBad.SKIP,
    limit: Limit = 0,
    data_root: DataRoot = Path("data"),
    download: Download = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in -o, with its settings.", rich_help_panel=_OUTPUT)
    ] = False,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    device: options.Device = "auto",
    precision: options.PrecisionOption = options.Precision.AUTO,
    threads: options.Threads = None,
    workers: options.Workers = None,
    seed: options.Seed = 0,
    config: options.Config = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train an autoencoder; with --noise it learns to give the clean image back."""
    values = dict(context.params) | {"time": options.parse_seconds(time, "--time"), "precision": precision.value}
    values["channels"] = _numbers(channels, "--channels")
    known = {item.name for item in fields(AeSettings)}
    settings = AeSettings(**{name: value for name, value in values.items() if name in known})
    data_values = {"val": val, "on_bad": on_bad.value, "limit": limit, "seed": seed}
    data_values |= {"root": data_root, "download": download}
    given = frozenset(name for name in values if options.was_given(context, name))
    place = RunPlace(data, output, resume, overwrite, device, threads, 2 if workers is None else workers, given)
    console = Console("ae train", as_json, quiet)
    if resume:
        settings, data_values = stored_settings(place, settings, data_values)
    if dry_run:
        options.check_choices(device)
        _show_dry_run(console, place, settings, data_values)
        return
    _run(console, place, settings, data_values)


def _numbers(text: str | None, name: str) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SettingsError(f"{name} {text}: numbers with commas between are needed, such as 32,64,96,128") from None


def _show_dry_run(console: Console, place: RunPlace, settings: AeSettings, data_values: dict[str, Any]) -> None:
    """Look at the data and say what would be trained and written."""
    from dltool.autoencoder.data import ImageData, Loaded, load_images
    from dltool.autoencoder.noise import parse_noise
    from dltool.training.run_folder import RunFolder

    parse_noise(settings.noise)
    if not place.resume:
        RunFolder(place.output).check(place.overwrite)
    with console.progress() as progress:
        for event in load_images(ImageData(place.source, **data_values), place.workers, budget=0):
            if isinstance(event, Loaded):
                break
            progress.update("checking the data", event.done, event.total)
    for line in describe_data(event):
        console.result(line)
    console.result(f"would write {place.output}/ (dry run: nothing is written)")
    counts = {name: len(split) for name, split in event.splits.items()}
    console.document(as_plain(settings), None, run=place.output, counts=counts, unreadable=event.unreadable)


def _run(console: Console, place: RunPlace, settings: AeSettings, data_values: dict[str, Any]) -> None:
    def train(context: "RunContext", shown: Console, progress: Progress, stop: StopRequest) -> "AeResult | None":
        from dltool.autoencoder.data import ImageData
        from dltool.autoencoder.train import train_autoencoder

        unused = [option(name) for name in ignored(settings) if name in place.given]
        if unused:
            shown.say(f"note: {', '.join(unused)} changes nothing with --arch {settings.arch.value}")
        events = train_autoencoder(ImageData(place.source, **data_values), settings, context)
        return Watcher(progress, shown.quiet).watch(events, stop)

    done = run_training(console, place, train)
    if done is not None:
        _report(console, place.output, *done)


def _report(console: Console, folder: Path, result: "AeResult", device: str) -> None:
    """Results into the run's folder and on stdout."""
    from dltool.training.run_folder import RunFolder

    run = RunFolder(folder)
    document = console.document(as_plain(result.settings), device, run=folder, model=run.model, **result_fields(result))
    run.write_json("results.json", document)
    for kind, metrics in (("val", result.metrics), ("test", result.test_metrics)):
        if metrics is not None:
            for line in describe_measured(kind, metrics):
                console.result(line)
    console.result(f"model {run.model}")
