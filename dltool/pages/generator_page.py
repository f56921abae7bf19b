"""The page of `dltool gan train`: the same noise after each epoch under a slider, losses, nearest training images."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltool.pages.album import Album, PageStep
from dltool.pages.charts import Chart, line_chart
from dltool.pages.epochs import Slide, epoch_slides, slide_data
from dltool.pages.render import Page
from dltool.pages.run_files import read_history, read_json

NEAREST = "nearest.png"


@dataclass(frozen=True)
class GeneratorContent:
    """What `generator.html` shows; `figures` are names, values and what they mean."""

    facts: str
    figures: tuple[tuple[str, str, str], ...]
    slides: tuple[Slide, ...]
    charts: tuple[Chart, ...]
    nearest: str
    walk: str
    notes: tuple[str, ...]
    unreadable: tuple[str, ...]
    settings: tuple[tuple[str, Any], ...]


def read_page(run: Path, album: Album) -> Generator[PageStep, None, Page]:
    """Read `results.json`, `config.json`, `metrics.jsonl` and the images of the epochs.

    Raises:
        DataError: a file is damaged.
    """
    yield from ()
    results, config = read_json(run / "results.json"), read_json(run / "config.json")
    history = read_history(run / "metrics.jsonl")
    settings = results.get("settings") or config.get("settings", {})
    slides = epoch_slides(run, album, history, _describe)
    content = GeneratorContent(
        facts=_facts(results, settings),
        figures=tuple(_figures(results)),
        slides=slides,
        charts=tuple(_charts(history)),
        nearest=album.own(run / NEAREST),
        walk=album.own(run / "training.gif"),
        notes=tuple(results.get("notes", ())),
        unreadable=tuple(results.get("unreadable", ())),
        settings=tuple(settings.items()),
    )
    name = results.get("data", {}).get("name") or Path(config.get("data", {}).get("source") or run.name).name
    return Page("generator.html", f"{name}: generator", content, slide_data(slides))


def _describe(row: dict[str, Any]) -> str:
    text = f"generator loss {row['g_loss']:.3f}, discriminator loss {row['d_loss']:.3f}"
    if row.get("figure") is not None:
        text += f", quality figure {row['figure']:.4g}"
    return text + (", the best so far" if row.get("best") else "")


def _facts(results: dict[str, Any], settings: dict[str, Any]) -> str:
    parts = [f"networks {settings.get('arch')}, {settings.get('loss')} loss"]
    data = results.get("data")
    if data:
        kind = "grey" if data["channels"] == 1 else "colour"
        size = data["size"]
        side = size if isinstance(size, int) else " x ".join(map(str, size))
        parts.insert(0, f"{data['pictures']:,} {kind} images of {side} pixels")
    if results.get("best_epoch"):
        parts.append(f"best epoch {results['best_epoch']} of {results['epochs']}")
    return "; ".join(parts)


def _figures(results: dict[str, Any]) -> list[tuple[str, str, str]]:
    metrics = results.get("metrics") or {}
    known = {
        "frechet": ("Fréchet distance", "of samples to training images in quick features: smaller is better"),
        "kid": ("KID", "kernel distance of samples to training images: smaller is better"),
        "diversity": ("diversity", "how far samples are from each other, beside training images: 1 is as far"),
    }
    return [
        (words, f"{metrics[name]:.4g}", what) for name, (words, what) in known.items() if metrics.get(name) is not None
    ]


def _charts(history: list[dict[str, Any]]) -> list[Chart]:
    def column(name: str, scale: float = 1.0) -> list[tuple[float, float | None]]:
        return [(row["epoch"], None if row.get(name) is None else scale * row[name]) for row in history]

    charts = [
        line_chart("Loss", "epoch", "loss", {"generator": column("g_loss"), "discriminator": column("d_loss")}),
        line_chart("Quality figure", "epoch", "smaller is better", {"figure": _known(column("figure"))}, log=True),
        line_chart(
            "What the discriminator tells right",
            "epoch",
            "right (%)",
            {"real": column("d_real", 100), "generated": column("d_fake", 100)},
            most=100,
        ),
    ]
    return [chart for chart in charts if chart is not None]


def _known(points: list[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """Points that were measured; not every epoch is."""
    return [point for point in points if point[1] is not None]
