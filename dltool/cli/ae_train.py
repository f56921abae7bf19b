"""`dltool ae train`: a folder of pictures in, an autoencoder or a denoiser out."""

from contextlib import closing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dltool.autoencoder.settings import AeSettings, Arch, Augment, Color, Loss, as_plain, from_plain, ignored, option
from dltool.cli import options
from dltool.cli.ae_watch import Watcher, describe_data, describe_measured, result_fields
from dltool.cli.console import Console, Progress
from dltool.cli.data_options import DataRoot, Download, Limit, OnBad, OnBadOption
from dltool.cli.signals import stop_requests
from dltool.errors import SettingsError

if TYPE_CHECKING:
    from dltool.autoencoder.train import AeResult

_D = AeSettings()
_NETWORK, _TRAINING, _DATA, _OUTPUT = "Network", "Training", "Data", "Output"


@dataclass(frozen=True)
class _Where:
    """What the command was told about places rather than about the model."""

    output: Path
    resume: bool
    overwrite: bool
    device: str
    threads: int | None
    workers: int
    given: frozenset[str]


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
            show_default="24,48,96",
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
        typer.Option(min=1, help="Samples per step.", show_default="128; unet 16", rich_help_panel=_TRAINING),
    ] = _D.batch_size,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Peak of the one-cycle learning rate.", show_default="3e-3; unet 8e-4", rich_help_panel=_TRAINING
        ),
    ] = _D.lr,
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
    """Train an autoencoder; with --noise it learns to give the clean picture back."""
    values = dict(context.params) | {"time": options.parse_seconds(time, "--time"), "precision": precision.value}
    values["channels"] = _numbers(channels, "--channels")
    known = {item.name for item in fields(AeSettings)}
    settings = AeSettings(**{name: value for name, value in values.items() if name in known})
    data_values = {"source": data, "val": val, "on_bad": on_bad.value, "limit": limit, "seed": seed}
    data_values |= {"root": data_root, "download": download}
    given = frozenset(name for name in values if options.was_given(context, name))
    where = _Where(output, resume, overwrite, device, threads, 2 if workers is None else workers, given)
    console = Console("ae train", as_json, quiet)
    if resume:
        settings, data_values = _stored(where, settings, data_values)
    if dry_run:
        _show_dry_run(console, where, settings, data_values)
        return
    _run(console, where, settings, data_values)


def _numbers(text: str | None, name: str) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SettingsError(f"{name} {text}: whole numbers with commas between are needed, such as 24,48,96") from None


def _stored(where: _Where, settings: AeSettings, data_values: dict[str, Any]) -> tuple[AeSettings, dict[str, Any]]:
    """A resumed run's own settings, where nothing else was typed; what was typed is compared with them later.

    Raises:
        SettingsError: there is no run to resume.
    """
    from dltool.training.run_folder import RunFolder

    config = RunFolder(where.output).read_config()
    stored = from_plain(config["settings"])
    typed = {name: getattr(settings, name) for name in vars(settings) if name in where.given}
    for name, value in config["data"].items():
        if name in data_values and name != "source" and ("data_root" if name == "root" else name) not in where.given:
            data_values[name] = Path(value) if name == "root" else value
    return replace(stored, **typed), data_values


def _show_dry_run(console: Console, where: _Where, settings: AeSettings, data_values: dict[str, Any]) -> None:
    """Look at the data and say what would be trained and written."""
    from dltool.autoencoder.data import Loaded, PictureData, load_pictures
    from dltool.autoencoder.noise import parse_noise
    from dltool.training.run_folder import RunFolder

    parse_noise(settings.noise)
    if not where.resume:
        RunFolder(where.output).check(where.overwrite)
    with console.progress() as progress:
        for event in load_pictures(PictureData(**data_values), where.workers, budget=0):
            if isinstance(event, Loaded):
                break
            progress.update("checking the data", event.done, event.total)
    for line in describe_data(event):
        console.result(line)
    console.result(f"would write {where.output}/ (dry run: nothing is written)")
    counts = {name: len(split) for name, split in event.splits.items()}
    console.document(as_plain(settings), None, run=where.output, counts=counts, unreadable=event.unreadable)


def _run(console: Console, where: _Where, settings: AeSettings, data_values: dict[str, Any]) -> None:
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading", 0, 1)
        from dltool.autoencoder.data import PictureData
        from dltool.autoencoder.train import Surroundings, train_autoencoder
        from dltool.device import describe_device, select_device, set_threads
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
                console, progress = Console("ae train", False, True), Progress()
            around = Surroundings(
                device=device,
                run=run,
                workers=where.workers,
                should_stop=lambda: bool(stop),
                resume=where.resume,
                overwrite=where.overwrite,
            )
            watcher = Watcher(progress, console.quiet)
            unused = [option(name) for name in ignored(settings) if name in where.given]
            if unused:
                console.say(f"note: {', '.join(unused)} changes nothing with --arch {settings.arch.value}")
            try:
                with closing(train_autoencoder(PictureData(**data_values), settings, around)) as events:
                    for event in events:
                        watcher.show(event)
                        if stop and watcher.interruptible(event):
                            break
            except BaseException:
                run.discard_unstarted()
                raise
        if stop and watcher.result is None:
            if run.checkpoint.is_file() and (where.resume or run.is_created):
                console.warn(f"stopped; {run.path.resolve()} holds what is done, --resume goes on from here")
            else:
                run.discard_unstarted()
                console.warn("stopped; nothing was trained yet")
            stop.leave()
    if watcher.result is not None and first:
        _report(console, run.path, run.model, watcher.result, describe_device(device))


def _report(console: Console, folder: Path, model: Path, result: "AeResult", device: str) -> None:
    """Charts and results into the run's folder, the result on stdout."""
    from dltool.training.run_folder import RunFolder

    document = console.document(as_plain(result.settings), device, run=folder, model=model, **result_fields(result))
    RunFolder(folder).write_json("results.json", document)
    for kind, metrics in (("val", result.metrics), ("test", result.test_metrics)):
        if metrics is not None:
            for line in describe_measured(kind, metrics):
                console.result(line)
    console.result(f"model {model}")
