"""`dltool gan train`: a folder of images in, a generator of more out."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dltool.cli import options
from dltool.cli.console import Console, Progress
from dltool.cli.data_options import DataRoot, Download, Limit, OnBad, OnBadOption
from dltool.cli.gan_watch import Watcher, describe_data, result_fields, result_lines
from dltool.cli.signals import StopRequest
from dltool.cli.training import RunPlace, run_training, stored_settings
from dltool.gan.settings import Arch, Augment, GanSettings, Loss
from dltool.plain import as_plain

if TYPE_CHECKING:
    from dltool.gan.train import GanResult
    from dltool.training.surroundings import Surroundings

_D = GanSettings()
_NETWORK, _TRAINING, _DATA, _OUTPUT = "Networks", "Training", "Data", "Output"


def command(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            help="A folder of pictures, with or without class folders, or digits, mnist, fashion-mnist, cifar10.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="The run's folder.")],
    arch: Annotated[
        Arch, typer.Option(help="Fully connected, DCGAN's convolutions, or residual without norms after R3GAN.")
    ] = _D.arch,
    loss: Annotated[
        Loss,
        typer.Option(help="What the discriminator learns.", show_default="relativistic for modern, else bce"),
    ] = _D.loss,
    size: Annotated[
        int,
        typer.Option(
            metavar="8|28|32|64|128",
            help="Side of the pictures in pixels.",
            show_default="the set's own; files 64",
        ),
    ] = _D.size,
    conditional: Annotated[
        bool | None,
        typer.Option(
            "--conditional/--unconditional",
            help="Learn the classes, to ask for one by one later.",
            show_default="conditional for modern, with 50 pictures of each",
        ),
    ] = _D.conditional,
    latent_dim: Annotated[
        int | None,
        typer.Option(min=1, help="Numbers of noise.", show_default="128; modern 64", rich_help_panel=_NETWORK),
    ] = _D.latent_dim,
    width: Annotated[
        int, typer.Option(min=1, help="Channels of modern at the finest resolution.", rich_help_panel=_NETWORK)
    ] = _D.width,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Times that every picture is seen; several times each in small sets.",
            show_default="enough to see 400000 pictures",
            rich_help_panel=_TRAINING,
        ),
    ] = _D.epochs,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="5m|1h",
            help="Train at most this long; the schedule ends with it.",
            show_default=False,
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Pictures per step.", show_default="64", rich_help_panel=_TRAINING)
    ] = _D.batch_size,
    lr: Annotated[
        float | None,
        typer.Option(help="Adam's rate at the start.", show_default="2e-4; modern 5e-4", rich_help_panel=_TRAINING),
    ] = _D.lr,
    final_lr: Annotated[
        float | None,
        typer.Option(
            help="Factor on --lr at the end of the cosine.", show_default="1; modern 0.1", rich_help_panel=_TRAINING
        ),
    ] = _D.final_lr,
    gamma: Annotated[
        float | None,
        typer.Option(help="Strength of modern's R1 and R2 penalties.", show_default="0.5", rich_help_panel=_TRAINING),
    ] = _D.gamma,
    ema: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Half-life, in pictures, of the average of the generator that is kept.",
            show_default="5000",
            rich_help_panel=_TRAINING,
        ),
    ] = _D.ema,
    augment: Annotated[
        Augment,
        typer.Option(help="Vary what the discriminator sees; auto: for small sets.", rich_help_panel=_TRAINING),
    ] = _D.augment,
    on_bad: OnBadOption = OnBad.SKIP,
    limit: Limit = 0,
    data_root: DataRoot = Path("data"),
    download: Download = False,
    grid: Annotated[int, typer.Option(min=1, help="Pictures in each epoch's grid.", rich_help_panel=_OUTPUT)] = _D.grid,
    figure_every: Annotated[
        int,
        typer.Option(
            min=0,
            help="Epochs between two quality figures.",
            show_default="ten over the run",
            rich_help_panel=_OUTPUT,
        ),
    ] = _D.figure_every,
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
    """Train a generator of images: a grid each epoch, a quality figure, the best snapshot kept."""
    values = dict(context.params) | {"time": options.parse_seconds(time, "--time"), "precision": precision.value}
    known = {item.name for item in fields(GanSettings)}
    settings = GanSettings(**{name: value for name, value in values.items() if name in known})
    data_values = {"on_bad": on_bad.value, "limit": limit, "root": data_root, "download": download, "seed": seed}
    given = frozenset(name for name in values if options.was_given(context, name))
    place = RunPlace(data, output, resume, overwrite, device, threads, 2 if workers is None else workers, given)
    console = Console("gan train", as_json, quiet)
    if resume:
        settings, data_values = stored_settings(place, settings, data_values)
    if dry_run:
        options.check_choices(device)
        _show_dry_run(console, place, settings, data_values)
        return
    _run(console, place, settings, data_values)


def _run(console: Console, place: RunPlace, settings: GanSettings, data_values: dict[str, Any]) -> None:
    def train(around: "Surroundings", shown: Console, progress: Progress, stop: StopRequest) -> "GanResult | None":
        from dltool.data.load import DataSettings
        from dltool.gan.train import train_gan

        events = train_gan(DataSettings(place.source, **data_values), settings, around)
        return Watcher(progress, shown.quiet).watch(events, stop)

    done = run_training(console, place, train)
    if done is not None:
        _report(console, place.output, *done)


def _report(console: Console, folder: Path, result: "GanResult", device: str) -> None:
    """Results into the run's folder and on stdout."""
    from dltool.training.run_folder import RunFolder

    run = RunFolder(folder)
    document = console.document(
        as_plain(result.decided.settings), device, run=run.path, model=run.model, **result_fields(result)
    )
    run.write_json("results.json", document)
    for line in result_lines(result):
        console.result(line)
    console.result(f"model {run.model}")


def _show_dry_run(console: Console, place: RunPlace, settings: GanSettings, data_values: dict[str, Any]) -> None:
    """Look at the data and say what would be trained and written."""
    from dltool.data.load import DataSettings
    from dltool.gan.data import GanData, load_images
    from dltool.gan.settings import complete
    from dltool.training.run_folder import RunFolder

    if not place.resume:
        RunFolder(place.output).check(place.overwrite)
    data = DataSettings(place.source, **data_values, complete=False, labelled=False)
    with console.progress() as progress:
        for event in load_images(data, settings.size, place.workers):
            if isinstance(event, GanData):
                break
            progress.update("checking the data", event.done, event.total)
    settings = complete(settings, event.class_counts, event.size)
    for line in describe_data(event):
        console.result(line)
    console.result(f"would train {settings.arch} for {settings.epochs} epochs")
    console.result(f"would write {place.output}/ (dry run: nothing is written)")
    facts = {"name": event.name, "pictures": len(event), "size": event.size, "channels": event.channels}
    console.document(as_plain(settings), None, run=place.output, data=facts)
