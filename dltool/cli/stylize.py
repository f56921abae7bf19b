"""`dltool stylize`: photos and a painting in, restyled photos out."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dltool.backbones import DEFAULT_BACKBONE
from dltool.cli import options
from dltool.cli.console import Console, Progress
from dltool.cli.items import new_item, report_items
from dltool.cli.signals import stop_requests
from dltool.errors import DataError, SettingsError
from dltool.images.folder import Job, plan_outputs
from dltool.stylize.settings import INITS, Optimizer, StylizeSettings

if TYPE_CHECKING:
    from dltool.stylize.files import FileDone, FileStep

_DEFAULTS = StylizeSettings()
_LOSS = "Loss"


def command(
    content: Annotated[list[Path], typer.Argument(help="Photos, or folders of them.", show_default=False)],
    style: Annotated[
        list[Path], typer.Option("--style", "-s", metavar="FILE", help="The painting whose style is wanted.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE|FOLDER", help="A file for one photo, else a folder (PNG files)."),
    ],
    size: Annotated[int, typer.Option(min=1, help="Longest side of the result in pixels.")] = _DEFAULTS.size,
    steps: Annotated[
        int, typer.Option(min=1, help="Evaluations of loss and gradient, over all scales.")
    ] = _DEFAULTS.steps,
    time: Annotated[
        str | None,
        typer.Option(
            metavar="30s|5m", help="At most this long for one picture; then as many steps as fit.", show_default=False
        ),
    ] = None,
    init: Annotated[
        str,
        typer.Option(
            metavar="|".join([*INITS, "FILE"]), help="Start: the photo in the style's colours, the photo itself, …"
        ),
    ] = _DEFAULTS.init,
    scales: Annotated[
        int, typer.Option(min=1, help="Sizes worked through from coarse to fine, each 1.4 times the last.")
    ] = _DEFAULTS.scales,
    optimizer: Annotated[Optimizer, typer.Option(help="How the pixels are moved.")] = _DEFAULTS.optimizer,
    learning_rate: Annotated[
        float, typer.Option(min=0, help="Step length; 0 takes the optimizer's own (Adam 0.02, L-BFGS 1).")
    ] = _DEFAULTS.learning_rate,
    content_weight: Annotated[
        float, typer.Option(min=0, help="Of keeping what is in the photo.", rich_help_panel=_LOSS)
    ] = _DEFAULTS.content_weight,
    style_weight: Annotated[
        float, typer.Option(min=0, help="Of looking painted like the style.", rich_help_panel=_LOSS)
    ] = _DEFAULTS.style_weight,
    tv_weight: Annotated[
        float, typer.Option(min=0, help="Of smoothness between neighbouring pixels.", rich_help_panel=_LOSS)
    ] = _DEFAULTS.tv_weight,
    content_layers: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…", help="Layers that say what is in it.", show_default=False, rich_help_panel=_LOSS
        ),
    ] = None,
    style_layers: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,…", help="Layers that say how it is painted.", show_default=False, rich_help_panel=_LOSS
        ),
    ] = None,
    backbone: options.BackboneName = DEFAULT_BACKBONE,
    weights: options.Weights = "default",
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
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
    """Restyle photos: each is optimized until a network sees the photo's content in the painting's style."""
    console = Console("stylize", as_json, quiet)
    settings = StylizeSettings(
        size=size,
        steps=steps,
        optimizer=optimizer,
        content_weight=content_weight,
        style_weight=style_weight,
        tv_weight=tv_weight,
        content_layers=options.split_names(content_layers),
        style_layers=options.split_names(style_layers),
        init=init,
        scales=scales,
        learning_rate=learning_rate,
        time=options.parse_seconds(time, "--time"),
        seed=seed,
    )
    _check_pictures(style, init)
    jobs = plan_outputs(content, output, ".png", options.on_existing(overwrite, skip_existing))
    reported = {
        **vars(settings),
        "style": style[0],
        "backbone": backbone,
        "weights": weights,
        "precision": precision,
    }
    if dry_run or all(job.exists for job in jobs):
        items = [new_item(job, "skipped" if job.exists else "planned") for job in jobs]
        report_items(console, items, reported, None)
        return
    _run(console, jobs, style[0], settings, reported, device, threads, 1 if workers is None else workers)


def _check_pictures(style: list[Path], init: str) -> None:
    if len(style) > 1:
        raise SettingsError(f"--style {style[1]}: one style at a time; run the command once for each")
    if not style[0].is_file():
        raise DataError(f"--style {style[0]}: no such file")
    if init not in INITS and not Path(init).is_file():
        raise SettingsError(f"--init {init}: neither a picture file nor one of {', '.join(INITS)}")


def _run(
    console: Console,
    jobs: list[Job],
    style: Path,
    settings: StylizeSettings,
    reported: dict[str, Any],
    device_name: str,
    threads: int | None,
    workers: int,
) -> None:
    items: list[dict[str, Any]] = []
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading the network", 0, 1)
        from dltool.backbones.registry import create_backbone
        from dltool.device import describe_device, select_device, set_threads
        from dltool.stylize import FeatureNetwork, stylize_files

        set_threads(threads)
        device = select_device(device_name)
        backbone = create_backbone(reported["backbone"], reported["weights"], settings.seed)
        if backbone.unexpected:
            progress.say(
                f"{backbone.weights}: {len(backbone.unexpected)} tensors, {backbone.unexpected[0]} among them, "
                f"have no place in {backbone.name}"
            )
        bf16 = {"auto": None, "fp32": False, "bf16": True}[reported["precision"]]
        network = FeatureNetwork(backbone, device, settings.content_layers, settings.style_layers, bf16)
        reported |= {"content_layers": network.content_layers, "style_layers": network.style_layers}
        reported["precision"] = "bf16" if network.bf16 else "fp32"
        with network, closing(stylize_files(jobs, style, network, settings, device, workers)) as events:
            for event in events:
                if stop:
                    break
                _show(event, progress, items)
    if stop:
        console.warn(
            f"stopped with {len(jobs) - len(items)} of {len(jobs)} pictures not done; --skip-existing goes on from here"
        )
        stop.leave()
    order = [job.input for job in jobs]
    items.sort(key=lambda item: order.index(item["input"]))  # a failed read is told before the write before it
    report_items(console, items, reported, describe_device(device))


def _show(event: "FileStep | FileDone", progress: Progress, items: list[dict[str, Any]]) -> None:
    if hasattr(event, "step"):
        place = f"{event.number}/{event.count} " if event.count > 1 else ""
        figure = f"content {event.step.content_loss:.3f} style {event.step.style_loss:.3f}"
        progress.update(place + event.job.input.name, event.step.step, event.step.steps, figure)
        return
    item = new_item(event.job, event.status, event.error)
    if event.result is not None:
        item |= {
            "size": event.size,
            "steps": event.result.steps,
            "seconds": round(event.result.seconds, 3),
            "content_loss": event.result.content_loss,
            "style_loss": event.result.style_loss,
        }
    items.append(item)
