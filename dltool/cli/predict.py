"""`dltool predict`: what is on these images, by a model of `dltool finetune`."""

import csv
import io
from collections import Counter
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from dltool.cli import old_options as options
from dltool.cli.console import Console
from dltool.cli.signals import stop_requests
from dltool.errors import DataError, DltoolError, SettingsError
from dltool.files import write_atomically


class SortBy(StrEnum):
    """How `--sort` puts an image into its class's folder."""

    COPY = "copy"
    LINK = "link"


def command(
    model: Annotated[Path, typer.Argument(help="A model file, or a run's folder.", show_default=False)],
    images: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.", show_default=False)],
    top: Annotated[int, typer.Option(min=1, help="Classes to name for each picture.")] = 1,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="Write a table: a row per picture.", show_default=False),
    ] = None,
    sort: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Sort the pictures into FOLDER/<class>/.", show_default=False),
    ] = None,
    sort_by: Annotated[SortBy, typer.Option(help="Copies, or symbolic links.")] = SortBy.COPY,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Below this confidence a picture is sorted into 'unsure'.")
    ] = 0.0,
    tta: Annotated[bool, typer.Option("--tta", help="Average over each picture and its mirror image.")] = False,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
    dry_run: options.DryRun = False,
    device: options.Device = "auto",
    precision: options.PrecisionOption = options.Precision.AUTO,
    threads: options.Threads = None,
    workers: options.Workers = None,
    config: options.Config = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Name the classes of images; unreadable ones are listed and never stop the rest."""
    from dltool.images.folder import list_images

    console = Console("predict", as_json, quiet)
    on_existing = options.on_existing(overwrite, skip_existing)
    if csv_file is not None and csv_file.exists() and not overwrite:
        raise SettingsError(f"--csv {csv_file}: output exists; give --overwrite")
    if csv_file is not None and csv_file.is_dir():
        raise SettingsError(f"--csv {csv_file}: a folder, but a file is needed")
    if sort is not None and sort.exists() and not sort.is_dir():
        raise SettingsError(f"--sort {sort}: a file, but a folder is needed")
    photos = list_images(images, exclude=sort)
    settings = {"model": model, "top": top, "tta": tta, "csv": csv_file, "sort": sort, "precision": precision}
    if dry_run:
        options.check_choices(device)
        from dltool.finetune.classifier_file import load_classifier

        load_classifier(model)
        items = [_item(path, "planned", None) for path, _ in photos]
        for path, _ in photos:
            console.result(f"{path} (planned)")
        _finish(console, items, settings, None)
        return
    items: list[dict[str, Any]] = []
    with stop_requests() as stop, console.progress() as progress:
        progress.update("loading the model", 0, 1)
        from dltool.device import describe_device, select_device, set_threads
        from dltool.finetune.classifier_file import load_classifier
        from dltool.finetune.images import Sorter, predict_files
        from dltool.finetune.score import Scorer, wants_bf16

        set_threads(threads)
        chosen = select_device(device)
        classifier, _ = load_classifier(model)
        sorter = None
        if sort is not None:
            sorter = Sorter(sort, sort_by is SortBy.LINK, threshold, on_existing)
            sorter.check(classifier.class_names, photos)
        scorer = Scorer(classifier, chosen, wants_bf16(precision.value, classifier))
        count = 2 if workers is None else workers
        with closing(predict_files(scorer, [path for path, _ in photos], count, tta)) as events:
            for (path, relative), event in zip(photos, events, strict=False):
                item = _item(path, "failed" if event.error else "done", event.error)
                if event.error is None:
                    best = event.probabilities.topk(min(top, len(classifier.class_names)))
                    ranked = zip(best.values.tolist(), best.indices.tolist(), strict=True)
                    item["predictions"] = [{"class": classifier.class_names[i], "probability": p} for p, i in ranked]
                    if sorter is not None:
                        try:
                            item["output"], item["status"] = sorter.place(path, relative, **item["predictions"][0])
                        except DltoolError as error:
                            item |= {"status": "failed", "error": str(error), "exit_code": error.exit_code}
                items.append(item)
                progress.update("predicting", len(items), len(photos))
                if stop:
                    break
    for item in items:
        console.result(_line(item))
    if csv_file is not None:
        write_atomically(csv_file, _table(items).encode())
    if stop:
        console.warn(f"stopped with {len(photos) - len(items)} of {len(photos)} pictures not done")
        stop.leave()
    _finish(console, items, settings, describe_device(chosen))


def _item(path: Path, status: str, error: DltoolError | None) -> dict[str, Any]:
    return {
        "input": path,
        "output": None,
        "status": status,
        "error": None if error is None else str(error),
        "exit_code": 0 if error is None else error.exit_code,
        "predictions": [],
    }


def _line(item: dict[str, Any]) -> str:
    if item["status"] == "failed":
        return f"{item['input']}: failed"
    names = ", ".join(f"{entry['class']} {100 * entry['probability']:.1f} %" for entry in item["predictions"])
    place = f" -> {item['output']}" if item["output"] else ""
    return f"{item['input']}: {names}{place}"


def _table(items: list[dict[str, Any]]) -> str:
    """CSV with a row per image: input, status, error, then class and probability by rank."""
    ranks = max((len(item["predictions"]) for item in items), default=0)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    names = [f"{kind}{rank}" for rank in range(1, ranks + 1) for kind in ("class", "probability")]
    writer.writerow(["input", "status", "error", *names])
    for item in items:
        values = [v for entry in item["predictions"] for v in (entry["class"], f"{entry['probability']:.6f}")]
        values += [""] * (2 * ranks - len(values))
        writer.writerow([item["input"], item["status"], item["error"] or "", *values])
    return buffer.getvalue()


def _finish(console: Console, items: list[dict[str, Any]], settings: dict[str, Any], device: str | None) -> None:
    counts = Counter(item["status"] for item in items)
    codes = {item.pop("exit_code") for item in items}
    for item in items:
        if item["status"] == "failed":
            console.warn(f"failed: {item['error']}")
    if len(items) > 1 and counts["failed"]:
        console.say(", ".join(f"{count} {status}" for status, count in counts.items()))
    totals = {status: counts[status] for status in ("done", "skipped", "failed")}
    classes = Counter(item["predictions"][0]["class"] for item in items if item["predictions"])
    console.document(settings, device, items=items, counts=totals, classes=dict(classes))
    if counts["failed"]:
        raise typer.Exit(DataError.exit_code if codes == {DataError.exit_code} else DltoolError.exit_code)
