"""`dltool gan evaluate`: figures of a generator's images, or of a folder's, with everything they depend on."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dltool.backbones import DEFAULT_BACKBONE
from dltool.cli import old_options as options
from dltool.cli.console import Console
from dltool.cli.data_options import DataRoot, Download, Limit, OnBad, OnBadOption
from dltool.cli.items import left_out
from dltool.cli.signals import stop_requests
from dltool.errors import SettingsError

if TYPE_CHECKING:
    from dltool.gan.evaluate import Comparison, Evaluation
    from dltool.gan.nearest import Nearest


class SplitName(StrEnum):
    """Which images of the data count."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


def command(
    source: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="A model file, a run's folder, or pictures.", show_default=False),
    ],
    data: Annotated[str, typer.Argument(help="Real pictures: a folder, or a set by name.", show_default=False)],
    samples: Annotated[
        int | None,
        typer.Option("-n", "--samples", min=1, help="Samples to draw.", show_default="10000; of a folder, all"),
    ] = None,
    split: Annotated[
        SplitName | None, typer.Option(help="Which part of the data.", show_default="test, else val, else train")
    ] = None,
    extractor: Annotated[
        str,
        typer.Option(
            metavar="BACKBONE[:LAYER]",
            help="Network whose pooled features, or a layer's, are compared.",
            rich_help_panel="Features",
        ),
    ] = DEFAULT_BACKBONE,
    weights: Annotated[
        str,
        typer.Option(
            metavar="default|none|FILE", help="Of the extractor, as for --backbone.", rich_help_panel="Features"
        ),
    ] = "default",
    input_size: Annotated[
        int | None,
        typer.Option(
            min=32,
            help="Side to which pictures are resized for it.",
            show_default="its own; the default's: twice the pictures', 64 to 224",
            rich_help_panel="Features",
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=8,
            help="Side of the pictures, for two folders.",
            show_default="the larger median, at most 224",
            rich_help_panel="Data",
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw samples beside their nearest training pictures.", show_default=False),
    ] = None,
    limit: Limit = 0,
    on_bad: OnBadOption = OnBad.SKIP,
    data_root: DataRoot = Path("data"),
    download: Download = False,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    workers: options.Workers = None,
    seed: options.Seed = 0,
    config: options.Config = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure how near generated images are to real ones: Fréchet distance, KID, precision and recall."""
    console = Console("gan evaluate", as_json, quiet)
    _check_sheet(sheet, overwrite)
    settings: dict[str, Any] = {"source": source, "data": data, "samples": samples, "split": split, "seed": seed}
    settings |= {"extractor": extractor, "weights": weights, "input_size": input_size, "size": size, "limit": limit}
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading", 0, 1)
        from dltool.cli.training import follow
        from dltool.data.settings import DataSettings
        from dltool.device import describe_device, select_device, set_threads
        from dltool.gan.evaluate import EvaluateSettings, evaluate, is_model

        set_threads(threads)
        chosen = select_device(device)
        if size is not None and is_model(source):
            raise SettingsError("--size: a generator's pictures have their own; it is for two folders")
        of_data = {"on_bad": on_bad.value, "limit": limit, "root": data_root, "download": download}
        asked = EvaluateSettings(
            samples, extractor, weights, input_size, split.value if split else None, size or 0, sheet is not None, seed
        )
        real = DataSettings(data, seed=seed, complete=False, labelled=False, **of_data)

        def show(event: Any) -> None:
            if stop:
                stop.leave()
            progress.update(_TASKS[type(event).__name__], event.done, event.total)

        evaluation = follow(evaluate(source, real, asked, chosen, 2 if workers is None else workers), show)
    _report(console, evaluation, (source, data), sheet, settings, describe_device(chosen))


_TASKS = {"Checked": "checking the data", "Drawn": "drawing samples", "Extracted": "computing features"}


def _check_sheet(sheet: Path | None, overwrite: bool) -> None:
    if sheet is None:
        return
    from dltool.images.formats import image_format

    image_format(sheet)
    if sheet.is_dir():
        raise SettingsError(f"--sheet {sheet}: a folder, but a file is needed")
    if sheet.exists() and not overwrite:
        raise SettingsError(f"--sheet {sheet}: output exists; give --overwrite")


def _report(
    console: Console,
    evaluation: "Evaluation",
    names: tuple[Path, str],
    sheet: Path | None,
    settings: dict[str, Any],
    device: str,
) -> None:
    from dltool.gan.nearest import nearest_sheet
    from dltool.images.write import write_image

    comparison, extractor = evaluation.comparison, evaluation.extractor
    for line in _figures(comparison):
        console.result(line)
    if evaluation.floor is not None:
        short = ", ".join(_figures(evaluation.floor))
        console.result(f"training pictures in their place: {short}")
    colour = "grey" if evaluation.channels == 1 else "colour"
    console.result(
        f"{comparison.generated} pictures of {names[0]} against {comparison.real} of {names[1]} ({evaluation.split}), "
        f"{evaluation.size}x{evaluation.size} pixels, {colour}"
    )
    console.result(f"features: {extractor.name}, {extractor.dim} of them; resizing: {extractor.resizing}")
    nearest = None
    if evaluation.nearest is not None and sheet is not None:
        write_image(sheet, nearest_sheet(evaluation.nearest))
        nearest = {"samples": _distances(evaluation.nearest)}
        text = f"nearest training picture: median distance {nearest['samples']['median']:.3f}"
        if evaluation.held_out is not None:
            nearest["held_out"] = _distances(evaluation.held_out)
            text += f" (of held-out pictures {nearest['held_out']['median']:.3f})"
        console.result(f"{text}, least {nearest['samples']['least']:.3f}; {sheet}")
    if comparison.refusal:
        missing = "no Fréchet distance" if comparison.kid else "neither Fréchet distance nor KID"
        console.warn(f"{missing}: {comparison.refusal}; --extractor BACKBONE:LAYER takes fewer, and KID 10")
    for line in left_out(evaluation.left_out):
        console.warn(line)
    described = {"name": extractor.name, "dim": extractor.dim, "input_size": extractor.side}
    described |= {"resizing": extractor.resizing, "weights": settings["weights"]}
    console.document(
        settings,
        device,
        metrics=_metrics(comparison),
        training_metrics=None if evaluation.floor is None else _metrics(evaluation.floor),
        extractor=described,
        pictures={
            "generated": comparison.generated,
            "real": comparison.real,
            "split": evaluation.split,
            "size": evaluation.size,
            "channels": evaluation.channels,
        },
        unreadable=evaluation.left_out,
        nearest=nearest,
        sheet=sheet,
    )


def _figures(comparison: "Comparison") -> list[str]:
    lines = [] if comparison.frechet is None else [f"Fréchet distance {comparison.frechet:.2f}"]
    if comparison.kid is not None:
        kid = comparison.kid
        lines.append(f"KID {kid.value:.4f} ± {kid.error:.4f}")
    if comparison.precision is not None and comparison.recall is not None:
        lines.append(f"precision {comparison.precision:.3f}, recall {comparison.recall:.3f}")
    return lines


def _metrics(comparison: "Comparison") -> dict[str, Any]:
    kid = comparison.kid
    return {
        "frechet": comparison.frechet,
        "frechet_refused": comparison.refusal,
        "kid": kid.value if kid else None,
        "kid_error": kid.error if kid else None,
        "kid_subsets": kid.subsets if kid else None,
        "kid_subset_size": kid.size if kid else None,
        "precision": comparison.precision,
        "recall": comparison.recall,
    }


def _distances(nearest: "Nearest") -> dict[str, float]:
    return {"median": float(nearest.distances.median()), "least": float(nearest.distances.min())}
