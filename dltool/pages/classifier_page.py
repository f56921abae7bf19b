"""The page of `dltool finetune` and `evaluate`: curves, what is confused with what, mistakes, calibration, findings."""

from collections import Counter, defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltool.pages.album import Album, PageStep
from dltool.pages.charts import Chart, calibration_chart, line_chart
from dltool.pages.originals import Originals
from dltool.pages.render import Page
from dltool.pages.run_files import read_history, read_json, read_table

PREDICTIONS = "predictions.csv"
_MOST_ITEMS = 5000
_MISTAKES = 48
_MOST_CONFUSED = 12
_MOST_CLASSES = 60
_MOST_PAIRS = 30
_BINS = 15
_TINTS = 5


@dataclass(frozen=True)
class Prediction:
    """An image with its class, the answer and how sure that was (0 to 1); `image` is its thumbnail's address."""

    number: int
    name: str
    truth: int
    answer: int
    confidence: float
    image: str
    note: str


@dataclass(frozen=True)
class Cell:
    """Of the images of class `truth`, how many were answered `answer`; `tint` from 0 to 5 is their share."""

    truth: int
    answer: int
    count: int
    tint: int


@dataclass(frozen=True)
class Tile:
    """An image that the data's check found something about."""

    number: int
    name: str
    image: str
    note: str


@dataclass(frozen=True)
class ClassifierContent:
    """What `classifier.html` shows; `figures` are names, values and what they mean."""

    facts: str
    reason: str | None
    figures: tuple[tuple[str, str, str], ...]
    charts: tuple[Chart, ...]
    classes: tuple[str, ...]
    matrix: tuple[tuple[Cell, ...], ...]
    confused: tuple[tuple[str, str, Cell], ...]
    mistakes: tuple[Prediction, ...]
    mistake_count: int
    calibration: Chart | None
    per_class: tuple[tuple[str, dict[str, float]], ...]
    comparison: tuple[dict[str, Any], ...]
    comparison_split: str
    pairs: tuple[tuple[Tile, ...], ...]
    more_pairs: int
    notes: tuple[str, ...]
    unreadable: tuple[str, ...]
    settings: tuple[tuple[str, Any], ...]


def read_page(run: Path, album: Album) -> Generator[PageStep, None, Page]:
    """Read `results.json`, `config.json`, `metrics.jsonl`, `predictions.csv` and `data_check.csv`.

    Raises:
        DataError: a file is damaged.
    """
    results, config = read_json(run / "results.json"), read_json(run / "config.json")
    trained = results.get("command") != "evaluate"
    split = "test" if trained and results.get("test_metrics") else "val"
    metrics = results.get("test_metrics" if split == "test" else "metrics") or {}
    data = config.get("data", {})
    source = data.get("source") or results.get("settings", {}).get("data")
    classes = list(results.get("classes") or metrics.get("per_class", {}))
    rows = read_table(run / PREDICTIONS, "file", "split", "class", "answer", "confidence")
    if trained:
        rows = [row for row in rows if row["split"] == split]
    rows.sort(key=lambda row: -float(row["confidence"]))
    chosen = _chosen(rows)
    findings = read_table(run / "data_check.csv", "finding", "file", "like", "what")
    alike = [row for row in findings if row["like"]]
    names = [row["file"] for row in chosen]
    names += [name for row in alike[:_MOST_PAIRS] for name in (row["file"], row["like"])]
    originals = Originals(source, Path(data.get("root", "data")))
    images = yield from album.thumbnails(names, originals)
    index = {name: number for number, name in enumerate(classes)}
    predictions = [
        _prediction(number, row, image, index)
        for number, (row, image) in enumerate(zip(chosen, images[: len(chosen)], strict=True))
    ]
    pairs = _pairs(alike[:_MOST_PAIRS], images[len(chosen) :], len(chosen))
    comparison = tuple(results.get("comparison", ()))
    content = ClassifierContent(
        facts=_facts(results, config, split),
        reason=results.get("reason"),
        figures=tuple(_figures(metrics)),
        charts=tuple(_curves(read_history(run / "metrics.jsonl"))),
        classes=tuple(classes),
        matrix=_matrix(metrics) if len(classes) <= _MOST_CLASSES else (),
        confused=tuple(_confused(metrics, classes)),
        mistakes=tuple(p for p in predictions if p.truth != p.answer)[:_MISTAKES],
        mistake_count=sum(row["class"] != row["answer"] for row in rows),
        calibration=calibration_chart(reliability(rows)) if rows else None,
        per_class=tuple(metrics.get("per_class", {}).items()),
        comparison=comparison,
        comparison_split=comparison[0]["split"] if comparison else "",
        pairs=pairs,
        more_pairs=max(0, len(alike) - _MOST_PAIRS),
        notes=(*results.get("notes", ()), *_count_findings(findings)),
        unreadable=tuple(row["what"] or row["file"] for row in findings if not row["like"]),
        settings=tuple((results.get("settings") or config.get("settings", {})).items()),
    )
    title = f"{Path(source).name if source else run.name}: {'comparison' if comparison else 'classifier'}"
    return Page(
        "classifier.html", title, content, _data(predictions, [tile for pair in pairs for tile in pair], classes)
    )


def reliability(rows: Sequence[dict[str, str]], bins: int = _BINS) -> list[tuple[float, float, int]]:
    """Mean confidence, accuracy and count of predictions in each of equally wide bins of confidence."""
    inside: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for row in rows:
        confidence = float(row["confidence"])
        inside[min(bins - 1, int(confidence * bins))].append((confidence, row["class"] == row["answer"]))
    return [
        (sum(c for c, _ in part) / len(part), sum(r for _, r in part) / len(part), len(part)) if part else (0.0, 0.0, 0)
        for part in inside
    ]


def _chosen(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """All rows; of very many all mistakes that there is room for, and of the right ones evenly by class."""
    if len(rows) <= _MOST_ITEMS:
        return list(rows)
    wrong = [row for row in rows if row["class"] != row["answer"]][: _MOST_ITEMS * 4 // 5]
    right: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        if row["class"] == row["answer"]:
            right[row["class"]].append(row)
    each = (_MOST_ITEMS - len(wrong)) // max(1, len(right))
    return wrong + [row for own in right.values() for row in own[:: max(1, len(own) // each)][:each]]


def _prediction(number: int, row: dict[str, str], image: str, index: dict[str, int]) -> Prediction:
    confidence = float(row["confidence"])
    right = row["class"] == row["answer"]
    note = f"{row['answer']}, {100 * confidence:.1f} % sure" + ("" if right else f"; is {row['class']}")
    return Prediction(number, row["file"], index[row["class"]], index[row["answer"]], confidence, image, note)


def _count_findings(findings: Sequence[dict[str, str]]) -> list[str]:
    counts = Counter(row["finding"] for row in findings)
    return [f"{kind}: {count:,} image{'s' if count != 1 else ''}" for kind, count in sorted(counts.items())]


def _pairs(rows: Sequence[dict[str, str]], images: Sequence[str], first: int) -> tuple[tuple[Tile, ...], ...]:
    """Two tiles for each row, numbered on from `first`, with their images in order."""
    pairs = []
    for place, row in enumerate(rows):
        note = row["finding"] + (f": {row['what']}" if row["what"] else "")
        tiles = [(2 * place, row["file"], note), (2 * place + 1, row["like"], "")]
        pairs.append(tuple(Tile(first + number, name, images[number], note) for number, name, note in tiles))
    return tuple(pairs)


def _facts(results: dict[str, Any], config: dict[str, Any], split: str) -> str:
    if results.get("command") == "evaluate":
        return f"model {results['model']}, scored on {results['metrics']['samples']:,} images"
    settings = results.get("settings") or config.get("settings", {})
    parts = [settings.get("backbone") or "", f"strategy {results.get('strategy') or settings.get('strategy')}"]
    if results.get("counts"):
        parts.append(", ".join(f"{count:,} {name}" for name, count in results["counts"].items()))
    if results.get("metrics"):
        parts.append(f"figures of {split}")
    if results.get("best_epoch"):
        parts.append(f"best epoch {results['best_epoch']} of {results['epochs']}")
    return "; ".join(part for part in parts if part)


def _figures(metrics: dict[str, Any]) -> list[tuple[str, str, str]]:
    if not metrics:
        return []
    low, high = metrics["accuracy_interval"]
    rows = [
        (
            "accuracy",
            f"{100 * metrics['accuracy']:.1f} %",
            f"95 % interval {100 * low:.1f} to {100 * high:.1f}, of {metrics['samples']:,} images",
        ),
        ("balanced accuracy", f"{100 * metrics['balanced_accuracy']:.1f} %", "every class counts the same"),
        ("macro-F1", f"{100 * metrics['macro_f1']:.1f} %", "mean over the classes of precision and recall in one"),
    ]
    if metrics.get("ece") is not None:
        what = "how far its confidence is from how often it is right"
        rows.append(("calibration error", f"{100 * metrics['ece']:.1f} %", what))
    rows.append(("loss", f"{metrics['loss']:.4f}", "mean cross-entropy in nats"))
    return rows


def _curves(history: Sequence[dict[str, Any]]) -> list[Chart]:
    if not history:
        return []
    numbered = list(enumerate(history, start=1))
    losses = {
        "train": [(n, row.get("train_loss")) for n, row in numbered],
        "val": [(n, row.get("val_loss")) for n, row in numbered],
    }
    accuracy = {"val": [(n, 100 * row["val_accuracy"]) for n, row in numbered if row.get("val_accuracy") is not None]}
    charts = [
        line_chart("Loss", "epoch", "cross-entropy", losses, log=True),
        line_chart("Accuracy", "epoch", "right (%)", accuracy, most=100) if accuracy["val"] else None,
    ]
    return [chart for chart in charts if chart is not None]


def _matrix(metrics: dict[str, Any]) -> tuple[tuple[Cell, ...], ...]:
    rows = []
    for truth, counts in enumerate(metrics.get("confusion", ())):
        total = max(1, sum(counts))
        rows.append(
            tuple(Cell(truth, answer, count, -(-_TINTS * count // total)) for answer, count in enumerate(counts))
        )
    return tuple(rows)


def _confused(metrics: dict[str, Any], classes: Sequence[str]) -> list[tuple[str, str, Cell]]:
    """What is taken for what most often."""
    cells = [
        (count, truth, answer)
        for truth, counts in enumerate(metrics.get("confusion", ()))
        for answer, count in enumerate(counts)
        if truth != answer and count
    ]
    cells.sort(key=lambda cell: (-cell[0], cell[1:]))
    return [(classes[t], classes[a], Cell(t, a, count, 0)) for count, t, a in cells[:_MOST_CONFUSED]]


def _data(predictions: Sequence[Prediction], more: Sequence[Tile], classes: Sequence[str]) -> dict[str, Any]:
    """Columns for the script: the predictions, then other tiles, which are in no cell."""
    items = (*predictions, *more)
    return {
        "kind": "classifier",
        "files": [item.name for item in items],
        "images": [item.image for item in items],
        "notes": [item.note for item in items],
        "truth": [item.truth for item in predictions] + [-1] * len(more),
        "answer": [item.answer for item in predictions] + [-1] * len(more),
        "classes": list(classes),
    }
