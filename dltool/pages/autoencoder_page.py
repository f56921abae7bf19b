"""The page of `dltool ae train`: images before, with noise and after, the epochs under a slider, the losses."""

import math
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dltool.images.folder import natural_key
from dltool.images.read import read_image
from dltool.pages.album import TINY, Album, PageStep
from dltool.pages.charts import Chart, line_chart
from dltool.pages.epochs import SAMPLES, Slide, epoch_slides, slide_data
from dltool.pages.render import Page
from dltool.pages.run_files import read_history, read_json

# What the files of an example are called, and what the page calls them.
_VIEWS = {"clean": "clean", "noisy": "with noise", "restored": "restored"}


@dataclass(frozen=True)
class Example:
    """A held-out image in up to three states, as pairs of a name and an address.

    Attributes:
        left, right: which of them are shown at first.
        figures: how near the others are to the first, in words.
        tiny: it is shown with its pixels as squares.
    """

    title: str
    views: tuple[tuple[str, str], ...]
    left: int
    right: int
    figures: str
    tiny: bool


@dataclass(frozen=True)
class AutoencoderContent:
    """What `autoencoder.html` shows; `figures` are names, values and what they mean."""

    facts: str
    figures: tuple[tuple[str, str, str], ...]
    examples: tuple[Example, ...]
    slides: tuple[Slide, ...]
    charts: tuple[Chart, ...]
    notes: tuple[str, ...]
    unreadable: tuple[str, ...]
    settings: tuple[tuple[str, Any], ...]


def read_page(run: Path, album: Album) -> Generator[PageStep, None, Page]:
    """Read `results.json`, `config.json`, `metrics.jsonl` and the images in `samples/`.

    Raises:
        DataError: a file is damaged.
    """
    results, config = read_json(run / "results.json"), read_json(run / "config.json")
    history = read_history(run / "metrics.jsonl")
    settings = results.get("settings") or config.get("settings", {})
    examples = yield from _read_examples(run, album)
    slides = epoch_slides(run, album, history, _describe)
    metrics = results.get("test_metrics") or results.get("metrics") or {}
    content = AutoencoderContent(
        facts=_facts(results, settings),
        figures=tuple(_figures(metrics)),
        examples=examples,
        slides=slides,
        charts=tuple(_charts(history, settings.get("loss", "loss"))),
        notes=tuple(results.get("notes", ())),
        unreadable=tuple(results.get("unreadable", ())),
        settings=tuple(settings.items()),
    )
    name = Path(config.get("data", {}).get("source") or run.name).name
    kind = "denoiser" if settings.get("noise") else "autoencoder"
    return Page("autoencoder.html", f"{name}: {kind}", content, slide_data(slides))


def _read_examples(run: Path, album: Album) -> Generator[PageStep, None, tuple[Example, ...]]:
    """The images `best-1-clean.png`, `best-1-noisy.png`, `best-1-restored.png` and so on in `samples/`."""
    folder = run / SAMPLES
    found = sorted(folder.glob("best-*-clean.png"), key=natural_key) if folder.is_dir() else []
    examples = []
    for done, clean_path in enumerate(found, start=1):
        stem = clean_path.name.removesuffix("clean.png")
        paths = {view: path for view in _VIEWS if (path := folder / f"{stem}{view}.png").is_file()}
        pixels = {view: read_image(path).pixels for view, path in paths.items()}
        views = tuple((_VIEWS[view], album.own(path)) for view, path in paths.items())
        said = [_decibels(_VIEWS[view], pixels["clean"], own) for view, own in pixels.items() if view != "clean"]
        tiny = max(pixels["clean"].shape[:2]) <= TINY
        title, last = f"image {done}", len(views) - 1
        examples.append(Example(title, views, max(0, last - 1), last, ", ".join(said), tiny))
        yield PageStep(done, len(found))
    return tuple(examples)


def _decibels(name: str, clean: np.ndarray, image: np.ndarray) -> str:
    """The peak signal-to-noise ratio to `clean` in words."""
    error = float(np.square(image.astype(np.float64) - clean).mean())
    return f"{name} {10 * math.log10(255**2 / error):.1f} dB" if error else f"{name}: equal"


def _describe(row: dict[str, Any]) -> str:
    text = f"loss {row['train_loss']:.4g}, of held-out images {row['loss']:.4g}"
    levels = ", ".join(f"{name}: {level['psnr']:.2f} dB" for name, level in row.get("levels", {}).items())
    return f"{text}, {levels}" + (", the best so far" if row.get("best") else "")


def _facts(results: dict[str, Any], settings: dict[str, Any]) -> str:
    parts = [f"network {settings.get('arch')}"]
    if results.get("parameters"):
        parts[0] += f" of {results['parameters']:,} parameters"
    if settings.get("noise"):
        parts.append(f"noise {settings['noise']}")
    if results.get("counts"):
        parts.append(", ".join(f"{count:,} {name}" for name, count in results["counts"].items()))
    if results.get("best_epoch"):
        parts.append(f"best epoch {results['best_epoch']} of {results['epochs']}")
    return "; ".join(parts)


def _figures(metrics: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for name, level in metrics.get("levels", {}).items():
        before = f"; with the noise {level['noisy_psnr']:.2f}" if level.get("noisy_psnr") is not None else ""
        similar = f", SSIM {level['ssim']:.3f}" if level.get("ssim") is not None else ""
        rows.append((f"PSNR, {name}", f"{level['psnr']:.2f} dB", f"of {metrics['pictures']:,} images{before}{similar}"))
    return rows


def _charts(history: list[dict[str, Any]], loss: str) -> list[Chart]:
    def epochs(values: list[float | None]) -> list[tuple[float, float | None]]:
        return [(row["epoch"], value) for row, value in zip(history, values, strict=True)]

    losses = {
        "train": epochs([row.get("train_loss") for row in history]),
        "held out": epochs([row.get("loss") for row in history]),
    }
    levels = list(history[-1].get("levels", {})) if history else []
    decibels = {name: epochs([row["levels"][name]["psnr"] for row in history]) for name in levels}
    charts = [
        line_chart("Loss", "epoch", loss, losses, log=True),
        line_chart("Held-out images", "epoch", "PSNR (dB)", decibels),
    ]
    return [chart for chart in charts if chart is not None]
