"""`dltool featmap`: what a network sees, which pixels made it decide, and what its layers look for."""

from pathlib import Path
from typing import Annotated

import typer

from dltool.backbones import DEFAULT_BACKBONE
from dltool.cli import featmap_tasks as tasks
from dltool.cli import old_options as options
from dltool.cli.console import Console
from dltool.errors import SettingsError
from dltool.featmap.settings import (
    DreamSettings,
    MapSettings,
    Method,
    Scale,
    WhySettings,
    parse_channels,
    parse_methods,
)
from dltool.images.folder import process_rank

_MAPS, _WHY, _LOOKS_FOR, _NETWORK = "Maps", "Why", "What it looks for", "Network"
_DREAM_STEPS = 12


def command(
    images: Annotated[
        list[Path] | None, typer.Argument(help="Pictures, or folders of them.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER|FILE", help="Where the pages go; a file for one picture."),
    ] = None,
    list_layers: Annotated[
        bool, typer.Option("--list-layers", help="Print every layer with its output's size, and leave.")
    ] = False,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer",
            "-l",
            metavar="NAME",
            help="A layer, or a pattern such as 'layer3.*'; repeat for more. With --method the one to look at.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side of the square that the network sees.", show_default="the weights'")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Also write the numbers, as .npz.")] = False,
    colormap: Annotated[
        str | None, typer.Option(metavar="NAME", help="matplotlib's name.", show_default="viridis; turbo over photos")
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(
            metavar="N|all|3,7,12",
            help="The N strongest, all, or these.",
            show_default="16; all filters",
            rich_help_panel=_MAPS,
        ),
    ] = None,
    scale: Annotated[
        Scale, typer.Option(help="Colours span each map's range, or the layer's.", rich_help_panel=_MAPS)
    ] = Scale.MAP,
    gif: Annotated[
        bool, typer.Option("--gif", help="Also an animation through the depth.", rich_help_panel=_MAPS)
    ] = False,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            metavar="|".join([*(method.value for method in Method), "all"]),
            help="Which pixels made it decide; several give one comparison page.",
            show_default=False,
            rich_help_panel=_WHY,
        ),
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            "-c",
            metavar="NAME|INDEX",
            help="Explain this class; repeat for more.",
            show_default="the top one",
            rich_help_panel=_WHY,
        ),
    ] = None,
    contrast: Annotated[
        bool, typer.Option("--contrast", help="Of two classes, also what speaks for one only.", rich_help_panel=_WHY)
    ] = False,
    score: Annotated[
        bool, typer.Option("--score", help="Measure each map by deletion and insertion.", rich_help_panel=_WHY)
    ] = False,
    alpha: Annotated[
        float, typer.Option(min=0, max=1, help="How much the colours cover the photo.", rich_help_panel=_WHY)
    ] = WhySettings.alpha,
    samples: Annotated[
        int, typer.Option(min=1, help="Noisy copies for smoothgrad.", rich_help_panel=_WHY)
    ] = WhySettings.samples,
    window: Annotated[
        int, typer.Option(min=0, help="Side of occlusion's square; 0 is an eighth of --size.", rich_help_panel=_WHY)
    ] = WhySettings.window,
    filters: Annotated[
        bool, typer.Option("--filters", help="The first layer's weights as pictures.", rich_help_panel=_LOOKS_FOR)
    ] = False,
    maximize: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAYER:CHANNEL|CLASS",
            help="The picture that excites it most; repeat for more.",
            show_default=False,
            rich_help_panel=_LOOKS_FOR,
        ),
    ] = None,
    dream: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER",
            help="Let a layer see more of what it sees.",
            show_default=False,
            rich_help_panel=_LOOKS_FOR,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of --maximize, of --dream at each size, or of integrated gradients.",
            show_default=f"{DreamSettings.steps}, {_DREAM_STEPS}, {WhySettings.steps}",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Pictures, or variants of one, that the network sees at once.")
    ] = MapSettings.batch_size,
    backbone: options.BackboneName = DEFAULT_BACKBONE,
    weights: options.Weights = "default",
    model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A model made by dltool, instead of --backbone.", rich_help_panel=_NETWORK),
    ] = None,
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
    """See what a network sees: its layers' maps (the default), why it decides (--method), what it looks for."""
    console = Console("featmap", as_json, quiet)
    common = tasks.Common(
        console=console,
        images=tuple(images or ()),
        output=output,
        on_existing=options.on_existing(overwrite, skip_existing),
        dry_run=dry_run,
        workers=1 if workers is None else workers,
        network=tasks.NetworkChoice(backbone, weights, model, size, device, threads, seed),
    )
    methods = parse_methods(method or [])
    chosen = {
        "--list-layers": list_layers,
        "--filters": filters,
        "--maximize": bool(maximize),
        "--dream": dream is not None,
        "--method": bool(methods),
    }
    task = _one_task([name for name, given in chosen.items() if given])
    if task in ("--list-layers", "--filters", "--maximize") and process_rank() != (0, 1):
        raise SettingsError(f"{task}: looks at the network alone, which is nothing to share; start one process only")
    _check_place(common, task)
    layers = tuple(layer or ())
    colors = {} if colormap is None else {"colormap": colormap}
    if task not in ("--method", "") and (classes or score or contrast):
        raise SettingsError("--class, --contrast and --score belong to --method")
    if gif and task:
        raise SettingsError(f"--gif: belongs to maps, not to {task}")
    if layers and task in ("--maximize", "--dream"):
        raise SettingsError(f"--layer: {task} names its layer itself")
    if task == "--list-layers":
        tasks.show_layers(common, layers)
    elif task == "--filters":
        tasks.draw_filters(common, _at_most_one(layers, task), parse_channels(channels or "all"), scale)
    elif task == "--maximize":
        dreaming = DreamSettings(steps=steps or DreamSettings.steps, seed=seed)
        tasks.draw_maximized(common, tuple(maximize or ()), dreaming)
    elif task == "--dream":
        longest = size or tasks.DREAM_SIZE
        tasks.draw_dreams(common, str(dream), DreamSettings(steps=steps or _DREAM_STEPS, size=longest, seed=seed))
    elif task == "--method" or classes or score:
        tasks.draw_explanations(
            common,
            WhySettings(
                methods=methods or WhySettings.methods,
                classes=tuple(classes or ()),
                contrast=contrast,
                layer=_at_most_one(layers, "--method"),
                alpha=alpha,
                score=score,
                samples=samples,
                steps=steps or WhySettings.steps,
                window=window,
                batch_size=batch_size,
                raw=raw,
                seed=seed,
                **colors,
            ),
        )
    else:
        tasks.draw_maps(
            common,
            MapSettings(
                layers=layers,
                channels=parse_channels(channels or "16"),
                scale=scale,
                gif=gif,
                raw=raw,
                batch_size=batch_size,
                **colors,
            ),
        )


def _one_task(given: list[str]) -> str:
    if len(given) > 1:
        raise SettingsError(f"{given[0]} and {given[1]}: one at a time")
    return given[0] if given else ""


def _check_place(common: "tasks.Common", task: str) -> None:
    if task == "--list-layers":
        return
    if common.output is None:
        raise SettingsError("-o: say where the pages go")
    takes_images = task not in ("--filters", "--maximize")
    if takes_images and not common.images:
        raise SettingsError("IMAGE: name at least one picture or folder (--filters and --maximize need none)")
    if not takes_images and common.images:
        raise SettingsError(f"{task}: looks at the network alone; leave {common.images[0]} out")


def _at_most_one(layers: tuple[str, ...], option: str) -> str:
    if len(layers) > 1:
        raise SettingsError(f"--layer {layers[1]}: {option} looks at one layer")
    return layers[0] if layers else ""
