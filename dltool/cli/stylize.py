"""`dltool stylize`: photos and a painting in, restyled photos out."""

from pathlib import Path
from typing import Any

from dltool.backbones import DEFAULT_BACKBONE
from dltool.cli import old_options as options
from dltool.cli import stylize_options as own
from dltool.cli.console import Console
from dltool.cli.items import new_item, report_items
from dltool.cli.stylize_run import NetworkChoice, Task, run_task
from dltool.cli.stylize_special import FramesChoice, GridChoice, plan_frames, run_frames, run_grid
from dltool.errors import DataError, SettingsError
from dltool.images.folder import Job, OnExisting, plan_outputs, process_rank
from dltool.stylize.settings import (
    INITS,
    GramForm,
    LossForm,
    Optimizer,
    Pooling,
    PreserveColor,
    StylizeSettings,
    parse_layers,
)
from dltool.stylize.styles import Extras, Style, parse_styles

_DEFAULTS = StylizeSettings()


def command(
    content: own.Contents,
    style: own.Styles,
    output: own.Output,
    recipe: own.RecipeName = None,
    list_recipes: own.ListRecipes = False,
    size: own.Size = str(_DEFAULTS.size),
    steps: own.Steps = _DEFAULTS.steps,
    time: own.Time = None,
    max_memory: own.MaxMemory = None,
    style_scale: own.StyleScale = _DEFAULTS.style_scale,
    strength: own.Strength = _DEFAULTS.strength,
    preserve_color: own.Preserve = PreserveColor.NONE,
    mask: own.MaskFile = None,
    init: own.Init = _DEFAULTS.init,
    scales: own.Scales = _DEFAULTS.scales,
    optimizer: own.OptimizerName = Optimizer.LBFGS,
    learning_rate: own.LearningRate = _DEFAULTS.learning_rate,
    history: own.History = _DEFAULTS.history,
    average: own.Average = _DEFAULTS.average,
    content_weight: own.ContentWeight = _DEFAULTS.content_weight,
    style_weight: own.StyleWeight = _DEFAULTS.style_weight,
    tv_weight: own.TvWeight = _DEFAULTS.tv_weight,
    range_weight: own.RangeWeight = _DEFAULTS.range_weight,
    content_layers: own.ContentLayers = None,
    style_layers: own.StyleLayers = None,
    loss: own.Loss = LossForm.RELATIVE,
    gram: own.Gram = GramForm.POSITIONS,
    backbone: options.BackboneName = DEFAULT_BACKBONE,
    weights: options.Weights = "default",
    pooling: own.PoolingKind = Pooling.MAX,
    pixel_mean: own.PixelMean = None,
    pixel_std: own.PixelStd = None,
    save_every: own.SaveEvery = 0,
    gif: own.Gif = False,
    grid: own.Grid = False,
    grid_layers: own.GridLayers = None,
    grid_ratios: own.GridRatios = None,
    frames: own.Frames = False,
    hold_weight: own.HoldWeight = 200.0,
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
    content_names, content_shares = parse_layers(content_layers, "--content-layers")
    style_names, style_shares = parse_layers(style_layers, "--style-layers")
    settings = StylizeSettings(
        size=own.parse_size(size),
        steps=steps,
        optimizer=optimizer,
        content_weight=content_weight,
        style_weight=style_weight,
        tv_weight=tv_weight,
        range_weight=range_weight,
        content_layers=content_names,
        style_layers=style_names,
        content_layer_weights=content_shares,
        style_layer_weights=style_shares,
        loss=loss,
        gram=gram,
        init=init,
        scales=scales,
        style_scale=style_scale,
        strength=strength,
        preserve_color=preserve_color,
        learning_rate=learning_rate,
        history=history,
        average=average,
        time=options.parse_seconds(time, "--time"),
        max_memory=own.parse_memory(max_memory),
        seed=seed,
    )
    network = NetworkChoice(
        backbone,
        weights,
        precision,
        pooling,
        own.parse_numbers(pixel_mean, "--pixel-mean", 3),
        own.parse_numbers(pixel_std, "--pixel-std", 3),
    )
    if network.pixel_std is not None and min(network.pixel_std) <= 0:
        raise SettingsError(f"--pixel-std {pixel_std}: numbers above 0 are needed")
    styles = parse_styles(style)
    _check_images(init, mask)
    on_existing = options.on_existing(overwrite, skip_existing)
    special = None
    if grid or frames:
        special = _special(grid, grid_layers, grid_ratios, frames, hold_weight)
        _check_special(special, styles, mask, save_every, gif, content)
    names = [each.name for each in styles if each.name]
    paintings = [path for each in styles for path, _ in each.images]
    read_too = [path for path in (*paintings, Path(init), Path(weights), mask, config) if path is not None]
    if isinstance(special, FramesChoice):
        jobs = plan_frames(content[0], output, on_existing, read_too)
    else:
        jobs = plan_outputs(content, output, ".png", on_existing, read_too, names)
    extras = Extras(save_every, gif)
    _check_extras(jobs, extras, steps, on_existing)
    reported = {"recipe": recipe, **vars(settings), "style": _as_typed(styles), "mask": mask, **vars(network)}
    if dry_run:
        options.check_choices(device, backbone)
    if dry_run or all(job.exists for job in jobs):
        items = [new_item(job, "skipped" if job.exists else "planned") for job in jobs]
        report_items(console, items, reported, None)
        return
    task = Task(jobs, styles, settings, network, mask, extras, reported)
    if isinstance(special, GridChoice):
        run_grid(console, task, special, device, threads)
    elif isinstance(special, FramesChoice):
        run_frames(console, task, special, device, threads)
    else:
        run_task(console, task, device, threads, 1 if workers is None else workers)


def _special(
    grid: bool, layers: str | None, ratios: str | None, frames: bool, hold_weight: float
) -> GridChoice | FramesChoice:
    if grid and frames:
        raise SettingsError("--grid and --frames: choose one")
    if frames:
        return FramesChoice(hold_weight)
    numbers = own.parse_numbers(ratios, "--grid-ratios")
    if numbers and not all(0 < number < float("inf") for number in numbers):
        raise SettingsError(f"--grid-ratios {ratios}: ratios above 0 are needed")
    return GridChoice(options.split_names(layers, "--grid-layers"), numbers)


def _check_special(
    special: GridChoice | FramesChoice,
    styles: list[Style],
    mask: Path | None,
    save_every: int,
    gif: bool,
    content: list[Path],
) -> None:
    """What does not go together with a grid or with frames."""
    option = "--grid" if isinstance(special, GridChoice) else "--frames"
    for other, given in (("--mask", mask is not None), ("--save-every", save_every > 0), ("--gif", gif)):
        if given:
            raise SettingsError(f"{option} and {other} do not go together")
    if len(styles) > 1:
        raise SettingsError(f"{option}: one style or one blend is needed, not a folder of styles")
    if isinstance(special, FramesChoice) and len(content) > 1:
        raise SettingsError("--frames: one animation or one folder of frames is needed")
    if isinstance(special, FramesChoice) and process_rank() != (0, 1):
        raise SettingsError("--frames: every frame needs the one before it; start one process only")


def _check_images(init: str, mask: Path | None) -> None:
    if init not in INITS and not Path(init).is_file():
        raise SettingsError(f"--init {init}: neither a picture file nor one of {', '.join(INITS)}")
    if mask is not None and not mask.is_file():
        raise DataError(f"--mask {mask}: no such file")


def _check_extras(jobs: list[Job], extras: Extras, steps: int, on_existing: OnExisting) -> None:
    """Files beside the outputs must not be there either, nor be somebody else's."""
    outputs = {job.output for job in jobs} | {job.input for job in jobs}
    for job in jobs:
        beside = [extras.gif_path(job.output)] if extras.gif else []
        if extras.save_every:
            beside += [extras.step_path(job.output, step) for step in range(0, steps + 1, extras.save_every)]
        for path in beside:
            if path in outputs:
                raise SettingsError(f"{path}: would be written twice; choose another -o")
            if path.exists() and on_existing is OnExisting.ERROR:
                raise SettingsError(f"{path}: output exists; give --overwrite or --skip-existing")


def _as_typed(styles: list[Style]) -> Any:
    """One painting as its path, a blend as paths with weights, a folder as a list of paths."""
    if len(styles) > 1:
        return [style.images[0][0] for style in styles]
    images = styles[0].images
    if len(images) == 1:
        return images[0][0]
    return [{"style": path, "weight": weight} for path, weight in images]
