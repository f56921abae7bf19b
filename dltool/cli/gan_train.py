"""`dltool gan train`: a folder of pictures in, a generator of more out."""

from contextlib import closing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dltool.cli import options
from dltool.cli.console import Console, Progress
from dltool.cli.data_options import DataRoot, Download, Limit, OnBad, OnBadOption
from dltool.cli.gan_watch import Watcher, describe_data, result_fields, result_lines
from dltool.cli.signals import StopRequest, stop_requests
from dltool.gan.settings import Arch, Augment, GanSettings, Loss, as_plain, from_plain

if TYPE_CHECKING:
    from dltool.gan.train import GanResult, Surroundings

_D = GanSettings()
_NETWORK, _TRAINING, _DATA, _OUTPUT = "Networks", "Training", "Data", "Output"


@dataclass(frozen=True)
class _Where:
    """What the command was told about places rather than about the model."""

    source: str
    output: Path
    resume: bool
    overwrite: bool
    device: str
    threads: int | None
    workers: int


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
        typer.Option(help="Adam's rate at the start.", show_default="2e-4; modern 2e-3", rich_help_panel=_TRAINING),
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
    """Train a generator of pictures: a grid each epoch, a quality figure, the best snapshot kept."""
    values = dict(context.params) | {"time": options.parse_seconds(time, "--time"), "precision": precision.value}
    known = {item.name for item in fields(GanSettings)}
    settings = GanSettings(**{name: value for name, value in values.items() if name in known})
    data_values = {"on_bad": on_bad.value, "limit": limit, "root": data_root, "download": download, "seed": seed}
    where = _Where(data, output, resume, overwrite, device, threads, 2 if workers is None else workers)
    console = Console("gan train", as_json, quiet)
    if resume:
        given = {name for name in values if options.was_given(context, name)}
        settings, data_values = _stored(output, settings, data_values, given)
    if dry_run:
        _show_dry_run(console, where, settings, data_values)
        return
    _run(console, where, settings, data_values)


def _stored(
    output: Path, settings: GanSettings, data_values: dict[str, Any], given: set[str]
) -> tuple[GanSettings, dict[str, Any]]:
    """A resumed run's own settings, where nothing else was typed; what was typed is compared with them later.

    Raises:
        SettingsError: there is no run to resume.
    """
    from dltool.training.run_folder import RunFolder

    config = RunFolder(output).read_config()
    typed = {name: getattr(settings, name) for name in vars(settings) if name in given}
    for name, value in config["data"].items():
        if name in data_values and {"root": "data_root"}.get(name, name) not in given:
            data_values[name] = Path(value) if name == "root" else value
    return replace(from_plain(config["settings"]), **typed), data_values


def _run(console: Console, where: _Where, settings: GanSettings, data_values: dict[str, Any]) -> None:
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading", 0, 1)
        from dltool.data.load import DataSettings
        from dltool.device import describe_device, select_device, set_threads
        from dltool.gan.train import Surroundings
        from dltool.training import distributed
        from dltool.training.run_folder import RunFolder

        set_threads(where.threads)
        device = distributed.local_device(select_device(where.device))
        with distributed.process_group(device):
            first = distributed.rank() == 0
            run = RunFolder(where.output)
            if first and not where.resume:
                run.check(where.overwrite)
            if not first:
                console, progress = Console("gan train", False, True), Progress()
            around = Surroundings(
                device=device,
                run=run,
                workers=where.workers,
                should_stop=lambda: bool(stop),
                resume=where.resume,
                overwrite=where.overwrite,
            )
            try:
                watcher = Watcher(progress, console.quiet)
                result = _watch(watcher, stop, DataSettings(where.source, **data_values), settings, around)
            except BaseException:
                run.discard_unstarted()
                raise
        if stop and result is None:
            if run.checkpoint.is_file() and (where.resume or run.is_created):
                console.warn(f"stopped; {run.path.resolve()} holds what is done, --resume goes on from here")
            else:
                run.discard_unstarted()
                console.warn("stopped; nothing was trained yet")
            stop.leave()
    if result is not None and first:
        _report(console, run, result, describe_device(device))


def _watch(
    watcher: Watcher, stop: StopRequest, data: Any, settings: GanSettings, around: "Surroundings"
) -> "GanResult | None":
    """Show what happens until the run ends; None if it was stopped."""
    from dltool.gan.train import train_gan

    with closing(train_gan(data, settings, around)) as events:
        for event in events:
            watcher.show(event)
            if stop and type(event).__name__ in ("Checked", "Stopped"):
                return None
    return watcher.result


def _report(console: Console, run: Any, result: "GanResult", device: str) -> None:
    document = console.document(
        as_plain(result.decided.settings), device, run=run.path, model=run.model, **result_fields(result)
    )
    run.write_json("results.json", document)
    for line in result_lines(result):
        console.result(line)
    console.result(f"model {run.model}")


def _show_dry_run(console: Console, where: _Where, settings: GanSettings, data_values: dict[str, Any]) -> None:
    """Look at the data and say what would be trained and written."""
    from dltool.data.load import DataSettings
    from dltool.gan.data import GanData, load_pictures
    from dltool.gan.settings import complete
    from dltool.training.run_folder import RunFolder

    if not where.resume:
        RunFolder(where.output).check(where.overwrite)
    data = DataSettings(where.source, **data_values, complete=False, labelled=False)
    with console.progress() as progress:
        for event in load_pictures(data, settings.size, where.workers):
            if isinstance(event, GanData):
                break
            progress.update("checking the data", event.done, event.total)
    settings = complete(settings, event.class_counts, event.size)
    for line in describe_data(event):
        console.result(line)
    console.result(f"would train {settings.arch} for {settings.epochs} epochs")
    console.result(f"would write {where.output}/ (dry run: nothing is written)")
    facts = {"name": event.name, "pictures": len(event), "size": event.size, "channels": event.channels}
    console.document(as_plain(settings), None, run=where.output, data=facts)
