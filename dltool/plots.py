"""Charts as PNG files: axes, units, legends; matplotlib is imported where one is drawn."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dltool.files import write_atomically

_DPI = 120
_MOST_CELLS_WITH_NUMBERS = 20
# Looked for, in this order, where names have letters that matplotlib's own font lacks.
_FURTHER_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC", "WenQuanYi Zen Hei"),
    *("WenQuanYi Micro Hei", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Malgun Gothic"),
    *("Yu Gothic", "SimHei", "Arial Unicode MS", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Sans Thai"),
)


@contextmanager
def chart(path: Path, width: float = 6.4, height: float = 4.2, columns: int = 1) -> Iterator[Any]:
    """Give one Axes (or an array of them side by side) to draw on, and write the figure to `path` at the end.

    The figure is drawn by the Agg backend without pyplot, so that no window system and no global state is touched.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns)
    yield axes
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def plot_curves(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Losses and validation accuracy by epoch; phases follow each other, the best epoch of the last is marked."""
    epochs = np.arange(1, len(history) + 1)
    starts = [i for i in range(1, len(history)) if history[i]["phase"] != history[i - 1]["phase"]]
    with chart(path, 10, 4, columns=2) as (left, right):
        left.plot(epochs, [row["train_loss"] for row in history], label="train", marker="." if len(epochs) < 40 else "")
        left.plot(epochs, [row["val_loss"] for row in history], label="val")
        left.set(xlabel="epoch", ylabel="cross-entropy (nats)", title="Loss", yscale="log")
        left.legend()
        right.plot(epochs, [100 * row["val_accuracy"] for row in history], color="C1", label="val")
        best = [i for i, row in enumerate(history) if row["best"] and row["phase"] == history[-1]["phase"]]
        if best:
            value = 100 * history[best[-1]]["val_accuracy"]
            right.plot([best[-1] + 1], [value], "o", color="C3", label=f"best: {value:.1f} %")
        right.set(xlabel="epoch", ylabel="accuracy (%)", title="Validation accuracy")
        right.legend()
        for axes in (left, right):
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            for start in starts:
                axes.axvline(start + 0.5, color="grey", linestyle=":", label="next phase")


def plot_restoration(path: Path, history: Sequence[Mapping[str, Any]], loss: str) -> None:
    """An autoencoder's loss by epoch beside the PSNR of held-out images at each strength of the noise."""
    epochs = [row["epoch"] for row in history]
    best = [row for row in history if row["best"]]
    with chart(path, 10, 4, columns=2) as (left, right):
        left.plot(epochs, [row["train_loss"] for row in history], label="train", marker="." if len(epochs) < 40 else "")
        left.plot(epochs, [row["loss"] for row in history], label="held out")
        if best:
            left.plot(best[-1]["epoch"], best[-1]["loss"], "o", color="C3", label=f"best: {best[-1]['loss']:.4g}")
        left.set(xlabel="epoch", ylabel=loss, title="Loss", yscale="log")
        for index, name in enumerate(history[-1]["levels"]):
            rows = [row["levels"][name] for row in history]
            right.plot(
                epochs, [row["psnr"] for row in rows], color=f"C{index}", label=f"{name}: {rows[-1]['psnr']:.2f}"
            )
            if "noisy_psnr" in rows[-1]:
                right.axhline(rows[-1]["noisy_psnr"], color=f"C{index}", linestyle=":")
        noisy = (
            "; dotted: the noisy picture" if any("noisy_psnr" in row for row in history[-1]["levels"].values()) else ""
        )
        right.set(xlabel="epoch", ylabel="PSNR (dB)", title=f"Held-out pictures{noisy}")
        for axes in (left, right):
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            axes.legend()


def plot_gan(path: Path, history: Sequence[Mapping[str, Any]], figure_name: str) -> None:
    """A GAN's losses, what its discriminator tells right, and the quality figure, by epoch; the best one is marked."""
    epochs = np.arange(1, len(history) + 1)
    names = {"frechet": "Fréchet distance (quick features)", "kid": "KID (quick features)"}
    with chart(path, 14 if figure_name else 10, 4, columns=3 if figure_name else 2) as panels:
        marker = "." if len(epochs) < 40 else ""
        for name, label in (("g_loss", "generator"), ("d_loss", "discriminator")):
            panels[0].plot(epochs, [row[name] for row in history], label=label, marker=marker)
        panels[0].set(xlabel="epoch", ylabel="loss (nats)", title="Losses")
        for name, label in (("d_real", "real pictures"), ("d_fake", "generated pictures")):
            panels[1].plot(epochs, [100 * row[name] for row in history], label=label, marker=marker)
        panels[1].axhline(50, color="grey", linestyle=":", label="guessing")
        panels[1].set(xlabel="epoch", ylabel="told right (%)", title="Discriminator", ylim=(0, 102))
        if figure_name:
            measured = [row for row in history if row["figure"] is not None]
            panels[2].plot([row["epoch"] for row in measured], [row["figure"] for row in measured], marker=".")
            best = min(measured, key=lambda row: row["figure"])
            panels[2].plot(
                [best["epoch"]],
                [best["figure"]],
                "o",
                color="C3",
                label=f"best: {best['figure']:.4g}, epoch {best['epoch']}",
            )
            panels[2].set(xlabel="epoch", ylabel=names[figure_name], title="Quality")
            if best["figure"] > 0:
                panels[2].set_yscale("log")
        for axes in panels:
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            axes.legend()


def plot_confusion(
    path: Path,
    confusion: Sequence[Sequence[int]],
    class_names: Sequence[str],
    answers: Sequence[str] | None = None,
    title: str = "Confusion matrix",
) -> None:
    """Counts by true class (rows) and answer (columns: the classes unless named), coloured by the share of the row."""
    columns = class_names if answers is None else answers
    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    width, height = (min(14.0, 3.5 + 0.45 * len(names)) for names in (columns, class_names))
    fonts = fonts_for([*columns, *class_names, title])
    if fonts is None:
        title += ", classes by their number (no font of this system has their names)"
        class_names = [f"class {number}" for number in range(1, len(class_names) + 1)]
        columns = class_names if answers is None else columns
    with fonts_of(fonts), chart(path, width + 1, height) as axes:
        image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
        axes.figure.colorbar(image, ax=axes, label="share of the true class (%)", shrink=0.8)
        rotation = 45 if len(columns) < 25 else 90
        axes.set_xticks(*_ticks(columns), rotation=rotation, ha="right")
        axes.set_yticks(*_ticks(class_names))
        axes.set(xlabel="answer" if answers is None else None, ylabel="true class", title=title)
        if max(counts.shape) <= _MOST_CELLS_WITH_NUMBERS:
            for row, column in np.ndindex(*counts.shape):
                if counts[row, column]:
                    color = "white" if shares[row, column] > 0.5 else "black"
                    axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color)


def fonts_for(texts: Iterable[str]) -> list[str] | None:
    """Font families of this system that have together every letter of the texts; None if there are none."""
    from matplotlib import font_manager

    missing = {ord(letter) for text in texts for letter in text if not letter.isspace()}
    found = []
    for family in ("DejaVu Sans", *_FURTHER_FONTS):
        try:
            file = font_manager.findfont(family, fallback_to_default=False)
        except ValueError:
            continue
        letters = set(font_manager.get_font(file).get_charmap())
        if missing & letters or not found:
            found.append(family)
            missing -= letters
    return None if missing else found


@contextmanager
def fonts_of(families: Sequence[str] | None) -> Iterator[None]:
    """Draw in these families, each for what the ones before it lack."""
    from matplotlib import rc_context

    with rc_context({"font.family": list(families or ["DejaVu Sans"])}):
        yield


def _ticks(names: Sequence[str]) -> tuple[range, list[str]]:
    """Places and labels of at most 60 ticks."""
    places = range(0, len(names), max(1, len(names) // 60))
    return places, [_shorten(names[i]) for i in places]


def plot_reliability(path: Path, rows: Sequence[tuple[float, float, int]], ece: float) -> None:
    """Accuracy against confidence in equally wide bins, beside how many samples are in each."""
    edges = np.arange(len(rows)) / len(rows)
    confidence, accuracy, count = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    full = count > 0
    with chart(path, 10, 4, columns=2) as (left, right):
        left.plot([0, 100], [0, 100], ":", color="grey", label="perfectly calibrated")
        left.plot(100 * confidence[full], 100 * accuracy[full], "o-", label=f"model, ECE {100 * ece:.1f} %")
        left.set(xlabel="confidence (%)", ylabel="accuracy (%)", title="Reliability", xlim=(0, 102), ylim=(0, 102))
        left.grid(alpha=0.3)
        left.legend()
        right.bar(100 * edges, count, width=100 / len(rows), align="edge", edgecolor="white")
        right.set(xlabel="confidence (%)", ylabel="samples", title="How confident the answers are")


def plot_intervals(path: Path, rows: Sequence[tuple[str, float, float, float]], xlabel: str, title: str) -> None:
    """One bar for each (name, value, low, high), all shares in [0, 1], with its interval."""
    names = [row[0] for row in rows][::-1]
    values = 100 * np.array([row[1:] for row in rows])[::-1]
    errors = np.abs(values[:, 1:] - values[:, :1]).T
    with chart(path, 7.5, 1.2 + 0.55 * len(rows)) as axes:
        bars = axes.barh(names, values[:, 0], xerr=errors, capsize=4, color="C0", alpha=0.8)
        axes.bar_label(bars, [f"{value:.1f} %" for value in values[:, 0]], label_type="center", color="white")
        axes.set(xlabel=xlabel, title=title, xlim=(0, 105))
        axes.grid(axis="x", alpha=0.3)


def _shorten(name: str, longest: int = 18) -> str:
    return name if len(name) <= longest else name[: longest - 1] + "…"
