"""`dltool gan sample`: images from a trained generator, as one grid, as files, or as a walk between them."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dltool.cli import old_options as options
from dltool.cli.console import Console
from dltool.cli.items import new_item, report_items
from dltool.errors import DltoolError, SettingsError
from dltool.images.folder import Job, OnExisting
from dltool.images.formats import WRITABLE

if TYPE_CHECKING:
    from dltool.gan.generator_file import TrainedGenerator

_GRID = 64
_FRAMES_PER_SECOND = 20


@dataclass(frozen=True)
class _Wanted:
    """What to draw; goes into the document's `settings`."""

    seeds: tuple[int, ...]
    classes: tuple[str, ...]
    truncation: float
    interpolate: int | None
    frames: int
    columns: int | None
    scale: int | None


def command(
    model: Annotated[
        Path, typer.Argument(help="A generator that gan train wrote, or its run's folder.", show_default=False)
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE|FOLDER", help="A picture for a grid, a .gif for a walk, a folder for files."
        ),
    ],
    number: Annotated[
        int | None,
        typer.Option(
            "-n", "--number", min=1, help="How many pictures.", show_default="about 64", rich_help_panel="Pictures"
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="0-35,99",
            help="One picture for each seed; -n counts on from --seed.",
            show_default=False,
            rich_help_panel="Pictures",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="NAME[,NAME]",
            help="Classes, in turn, of a conditional model.",
            show_default="all in turn, by the seed",
            rich_help_panel="Pictures",
        ),
    ] = None,
    truncation: Annotated[
        float,
        typer.Option(
            min=0.0, max=2.0, help="Factor on the noise: below 1 typical, above 1 unusual.", rich_help_panel="Pictures"
        ),
    ] = 1.0,
    interpolate: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Walk through so many pictures and back to the first.",
            show_default=False,
            rich_help_panel="Pictures",
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=2, help="Frames of that walk.", rich_help_panel="Pictures")] = 60,
    columns: Annotated[
        int | None,
        typer.Option(
            min=1, help="Pictures in a row.", show_default="one for each class, else square", rich_help_panel="Grid"
        ),
    ] = None,
    scale: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Whole factor that pictures are enlarged by.",
            show_default="to about 64 pixels; files 1",
            rich_help_panel="Grid",
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    dry_run: options.DryRun = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    seed: options.Seed = 0,
    config: options.Config = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Draw images from a generator; the same seed gives the same image."""
    console = Console("gan sample", as_json, quiet)
    existing = options.on_existing(overwrite, skip_existing)
    kind = _kind(output, interpolate)
    if seeds is not None and number is not None:
        raise SettingsError("--seeds and -n: choose one")
    if interpolate is not None and (seeds is not None or number is not None):
        raise SettingsError("--interpolate: takes its pictures from --seed; leave --seeds and -n out")
    if interpolate is not None and frames < interpolate:
        raise SettingsError(f"--frames {frames}: fewer than the {interpolate} pictures of the walk")
    if columns is not None and kind != "grid":
        raise SettingsError("--columns: for a grid; give -o the name of one picture")
    chosen = () if seeds is None else parse_seeds(seeds)
    names = _class_names(classes)

    from dltool.device import describe_device, select_device, set_threads
    from dltool.gan.generator_file import load_generator
    from dltool.gan.images import class_columns
    from dltool.gan.sample import class_labels

    set_threads(threads)
    place = select_device(device)
    generator = load_generator(model, place)
    class_labels(generator, names, [seed])
    if not names and columns is None:
        columns = class_columns(len(generator.class_names))
    count = interpolate or number or -(-_GRID // (columns or 1)) * (columns or 1)
    wanted = _Wanted(chosen or tuple(range(seed, seed + count)), names, truncation, interpolate, frames, columns, scale)
    jobs = _plan(model, output, kind, wanted.seeds, existing)
    settings = asdict(wanted)
    if dry_run:
        report_items(console, [new_item(job, "skipped" if job.exists else "planned") for job in jobs], settings, None)
        return
    items = _draw(console, generator, wanted, kind, jobs)
    report_items(console, items, settings, describe_device(place), metrics=generator.metrics)


def _class_names(text: str | None) -> tuple[str, ...]:
    names = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    if text is not None and not names:
        raise SettingsError(f"--class '{text}': names no class")
    return names


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read `0-35,99` as the seeds it names.

    Raises:
        SettingsError: not seeds, or none, or more than a million.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})(?:\s*-\s*(\d{1,18}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first or len(found) + last - first >= 10**6:
            raise SettingsError(f"--seeds {text}: give numbers and ranges such as 0-35,99, at most a million")
        found += range(first, last + 1)
    return tuple(dict.fromkeys(found))


def _kind(output: Path, interpolate: int | None) -> str:
    """`walk`, `grid` or `files`, by the output's name."""
    suffix = output.suffix.lower()
    is_folder = output.is_dir() or not suffix
    if interpolate is not None:
        if suffix != ".gif" or output.is_dir():
            raise SettingsError(f"-o {output}: --interpolate writes a film; give a name that ends in .gif")
        return "walk"
    if is_folder:
        return "files"
    if suffix not in WRITABLE:
        raise SettingsError(f"-o {output}: cannot write this kind of picture; use {', '.join(WRITABLE)}, or a folder")
    return "grid"


def _plan(model: Path, output: Path, kind: str, seeds: tuple[int, ...], existing: OnExisting) -> list[Job]:
    from dltool.images.folder import plan_file

    if kind != "files":
        return plan_file(model, output, existing, protected=[model])
    width = len(str(max(seeds)))
    return [job for seed in seeds for job in plan_file(model, output / f"seed{seed:0{width}d}.png", existing, [model])]


def _draw(
    console: Console, generator: "TrainedGenerator", wanted: _Wanted, kind: str, jobs: list[Job]
) -> list[dict[str, Any]]:
    from dltool.gan.images import grid_page
    from dltool.gan.sample import class_labels, generate, latent, walk
    from dltool.images.write import write_gif, write_image

    if kind == "files":
        return _draw_files(console, generator, wanted, jobs)
    (job,) = jobs
    if job.exists:
        return [new_item(job, "skipped")]
    noise = latent(wanted.seeds, generator.spec.latent_dim, wanted.truncation)
    if kind == "walk":
        noise = walk(noise, wanted.frames)
        # A walk stays in one class; a grid shows them in turn.
        labels = class_labels(generator, (wanted.classes or generator.class_names)[:1], range(len(noise)))
        pages = [
            grid_page(image[None], scale=wanted.scale, gap=0) for image in generate(generator.module, noise, labels)
        ]
        write_gif(job.output, pages, 1 / _FRAMES_PER_SECOND)
    else:
        images = generate(generator.module, noise, class_labels(generator, wanted.classes, wanted.seeds))
        write_image(job.output, grid_page(images, wanted.columns, wanted.scale))
    return [new_item(job, "done") | {"pictures": len(noise)}]


def _draw_files(
    console: Console, generator: "TrainedGenerator", wanted: _Wanted, jobs: list[Job]
) -> list[dict[str, Any]]:
    """One file for each seed; what is there already is left alone, where that was asked for."""
    from dltool.gan.images import grid_page
    from dltool.gan.sample import class_labels, generate, latent
    from dltool.images.write import write_image

    labels = class_labels(generator, wanted.classes, wanted.seeds)
    items = [
        new_item(job, "skipped" if job.exists else "done") | {"seed": s}
        for job, s in zip(jobs, wanted.seeds, strict=True)
    ]
    left = [index for index, job in enumerate(jobs) if not job.exists]
    with console.progress() as progress:
        for start in range(0, len(left), _GRID):
            part = left[start : start + _GRID]
            noise = latent([wanted.seeds[i] for i in part], generator.spec.latent_dim, wanted.truncation)
            images = generate(generator.module, noise, None if labels is None else labels[part])
            for index, image in zip(part, images, strict=True):
                try:
                    write_image(jobs[index].output, grid_page(image[None], scale=wanted.scale or 1, gap=0))
                except DltoolError as error:
                    items[index] |= new_item(jobs[index], "failed", error)
                if labels is not None:
                    items[index]["class"] = generator.class_names[int(labels[index])]
            progress.update("drawing", start + len(part), len(left))
    return items
