"""Small runs as dltool writes them, with names that try to be more than names."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SCRIPT = "<script>alert(1)</script>"
ONERROR = '"><img src=x onerror=alert(1)>.png'
GROUP_SIZES = (20, 14)


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *rows])


def draw(path: Path, shade: int, size: tuple[int, int] = (90, 60)) -> Path:
    """An image of one grey, so that a test can tell which one it sees."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, shade, shade)).save(path)
    return path


def cluster_run(folder: Path) -> tuple[Path, list[str]]:
    """A clustering of 34 images into two groups; returns the run and the names in the order of its table."""
    data, run = folder / "photos", folder / "run"
    run.mkdir()
    names = [ONERROR, *(f"sub/img_{n:02}.png" for n in range(1, sum(GROUP_SIZES)))]
    for number, name in enumerate(names):
        draw(data / name, 7 * number)
    labels = [0] * GROUP_SIZES[0] + [1] * GROUP_SIZES[1]
    # The first of the table is the least typical of its group.
    distances = [1 - number / 100 for number in range(len(names))]
    write_csv(
        run / "assignments.csv",
        ("file", "cluster", "distance", "margin"),
        [(name, label, distance, 0.5) for name, label, distance in zip(names, labels, distances, strict=True)],
    )
    write_csv(
        run / "map.csv", ("file", "x", "y"), [(name, n % 6, 10 * (n // 6)) for n, name in enumerate(names) if n != 5]
    )
    clusters = [
        {
            "cluster": n,
            "size": size,
            "mean_distance": 0.5,
            "class": SCRIPT if n == 0 else None,
            "counts": {SCRIPT: size},
        }
        for n, size in enumerate(GROUP_SIZES)
    ]
    reason = "k 2 has the largest silhouette"
    tried = [{"k": k, "silhouette": 1 / k, "inertia": 3.0} for k in (2, 3, 4)]
    summary = {
        "settings": {"k": None, "method": "kmeans"},
        "data": "photos",
        "source": {"data": str(data), "root": "data"},
        "kind": "pictures",
        "count": len(names),
        "k": 2,
        "k_choice": {"k": 2, "reason": reason, "tried": tried, "sampled": 34},
        "features": "pixels",
        "dimensions": 12,
        "metrics": {"silhouette": 0.5, "accuracy": 0.75},
        "clusters": clusters,
        "duplicates": [alike_group(*names[1:3])],
        "notes": [],
        "unreadable": ["broken.png: damaged picture"],
    }
    write_json(run / "clusters.json", summary)
    return run, names


def alike_group(keep: str, other: str) -> dict[str, Any]:
    """Two images that show the same, as `duplicates.json` has them."""
    what = {"width": 90, "height": 60, "sharpness": 0.1, "bytes": 2000}
    first = {"file": keep, "keep": "yes", "like": None, "similarity": 1.0, "differs": ""} | what
    second = {"file": other, "keep": "no", "like": keep, "similarity": 0.98, "differs": "mirrored, darker"} | what
    return {"group": 1, "kind": "copies", "images": [first, second]}


def duplicates_run(folder: Path) -> Path:
    """One group of two images."""
    run = folder / "out"
    run.mkdir()
    names = [ONERROR, "sub/copy.png"]
    for number, name in enumerate(names):
        draw(folder / "photos" / name, 50 + 100 * number)
    summary = {"data": "photos", "source": {"data": str(folder / "photos")}, "count": 9, "copies": 1}
    found = {"groups": [alike_group(*names)], "notes": [], "unreadable": ["broken.png: damaged picture"]}
    write_json(run / "duplicates.json", summary | found)
    return run


def classifier_run(folder: Path) -> tuple[Path, list[tuple[str, str, str]]]:
    """A run with three classes; returns it and file, class and answer of every validation image."""
    run = folder / "run"
    run.mkdir()
    classes = ("cat", SCRIPT, "dog")
    answers = [(0, 0), (0, 0), (0, 2), (0, 2), (1, 1), (1, 0), (2, 2), (2, 2), (2, 1)]
    rows = []
    for number, (truth, answer) in enumerate(answers):
        name = ONERROR if number == 0 else f"{number}.png"
        path = draw(folder / "data" / str(truth) / name, 25 * number)
        rows.append((str(path), classes[truth], classes[answer]))
    write_csv(
        run / "predictions.csv",
        ("file", "split", "class", "answer", "confidence"),
        [(file, "val", truth, answer, 0.95 - 0.05 * n) for n, (file, truth, answer) in enumerate(rows)]
        + [("elsewhere.png", "train", "cat", "dog", 0.99)],
    )
    write_csv(
        run / "data_check.csv",
        ("finding", "file", "like", "what"),
        [
            ("unreadable", "broken.png", "", "broken.png: damaged picture"),
            ("contradicting", rows[4][0], rows[8][0], f"{SCRIPT} and dog"),
        ],
    )
    figures = {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    metrics = {
        "samples": 9,
        "loss": 0.7,
        "accuracy": 5 / 9,
        "accuracy_interval": [0.27, 0.81],
        "balanced_accuracy": 0.55,
        "macro_f1": 0.5,
        "ece": 0.1,
        "per_class": {
            name: {"samples": count} | figures | {"recall": recall}
            for name, count, recall in zip(classes, (4, 2, 3), (0.5, 0.25, 0.75), strict=True)
        },
        "confusion": [[2, 0, 2], [1, 1, 0], [0, 1, 2]],
    }
    write_json(run / "config.json", {"command": "finetune", "data": {"source": str(folder / "data")}, "settings": {}})
    results = {
        "command": "finetune",
        "settings": {"backbone": "efficientnet_lite0", "strategy": "features", "lr": None},
        "strategy": "features",
        "reason": "hardly anything to gain",
        "classes": classes,
        "counts": {"train": 1, "val": 9},
        "epochs": 3,
        "best_epoch": 2,
        "metrics": metrics,
        "test_metrics": None,
        "notes": [f"one image stands in {SCRIPT} and in dog"],
        "unreadable": [],
    }
    write_json(run / "results.json", results)
    history = [
        {"phase": "head", "epoch": n, "train_loss": 1 / n, "val_loss": 1.1 / n, "val_accuracy": 0.5, "best": n == 2}
        for n in (1, 2, 3)
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history))
    return run, rows


def generator_run(folder: Path, finished: bool = True) -> Path:
    """Three epochs of a generator, each with a sheet of a grey of its own."""
    run = folder / "run"
    run.mkdir()
    settings = {"arch": "modern", "loss": "relativistic", "epochs": 3}
    write_json(run / "config.json", {"command": "gan train", "data": {"source": "digits"}, "settings": settings})
    rows = []
    for epoch in (1, 2, 3):
        draw(run / "samples" / f"epoch-{epoch:03}.png", 60 * epoch)
        rows.append(
            {"epoch": epoch, "g_loss": 1.0 * epoch, "d_loss": 0.5, "d_real": 0.9, "d_fake": 0.8, "best": epoch == 2}
            | {"figure": None if epoch == 1 else 100 / epoch}
        )
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    draw(run / "nearest.png", 200)
    if finished:
        results = {
            "command": "gan train",
            "settings": settings,
            "data": {"name": "digits", "pictures": 1797, "size": 8, "channels": 1},
            "epochs": 3,
            "best_epoch": 2,
            "metrics": {"epoch": 2, "frechet": 50.0},
            "notes": [],
            "unreadable": [],
        }
        write_json(run / "results.json", results)
    return run


def autoencoder_run(folder: Path) -> Path:
    """Two epochs of a denoiser, with two examples of an 8 x 8 image before, with noise and after."""
    run = folder / "run"
    run.mkdir()
    settings = {"arch": "conv", "noise": "gaussian:0.3", "loss": "mse"}
    write_json(run / "config.json", {"command": "ae train", "data": {"source": "digits"}, "settings": settings})
    level = {"psnr": 14.0, "ssim": 0.8, "noisy_psnr": 10.0}
    rows = []
    for epoch in (1, 2):
        draw(run / "samples" / f"epoch-{epoch:03}.png", 60 * epoch)
        rows.append({"epoch": epoch, "train_loss": 0.1 / epoch, "loss": 0.1, "levels": {"gaussian 0.3": level}})
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for number in (1, 2):
        for shade, view in ((100, "clean"), (151, "noisy"), (110, "restored")):
            draw(run / "samples" / f"best-{number}-{view}.png", shade, (8, 8))
    results = {
        "command": "ae train",
        "settings": settings,
        "parameters": 1000,
        "counts": {"train": 10, "val": 2},
        "epochs": 2,
        "best_epoch": 2,
        "metrics": {"loss": 0.1, "mse": 0.1, "pictures": 2, "levels": {"gaussian 0.3": level}},
        "test_metrics": None,
        "notes": [],
        "unreadable": [],
    }
    write_json(run / "results.json", results)
    return run


_STYLIZE = {"size": 90, "steps": 20, "style_weight": 1.0, "content_weight": 0.2, "backbone": "efficientnet_lite0"}


def stylize_run(folder: Path) -> Path:
    """A folder of two restyled photos, one of them with a hostile name, and one that failed."""
    run = folder / "out"
    names = [ONERROR, "deep/b.png"]
    items = []
    for number, name in enumerate(names):
        before, after = draw(folder / "in" / name, 50 + number), draw(run / name, 150 + number)
        figures = {"size": [90, 60], "seconds": 1.5, "content_loss": 0.5, "style_loss": 0.2}
        items.append({"input": str(before), "output": str(after), "status": "done", "error": None} | figures)
    lost = {"input": "in/c.png", "output": "out/c.png", "status": "failed", "error": "in/c.png: damaged picture"}
    style = draw(folder / "style.png", 30)
    settings = _STYLIZE | {"style": str(style), "preserve_color": "luminance", "strength": 0.5}
    counts = {"done": 2, "skipped": 0, "failed": 1}
    document = {"command": "stylize", "settings": settings, "items": [*items, lost], "counts": counts}
    write_record(run, document)
    return run


def grid_run(folder: Path) -> Path:
    """A sheet of two layers and two ratios, each cell of a grey of its own, in a folder."""
    run = folder / "out"
    run.mkdir()
    photo = draw(folder / "photo.png", 50)
    sheet = Image.new("RGB", (200, 160), "white")
    cells = []
    for number, (layer, ratio) in enumerate([("a", 0.5), ("a", 5.0), ("b", 0.5), ("b", 5.0)], start=1):
        left, top = 5 + 95 * ((number - 1) % 2), 20 + 70 * ((number - 1) // 2)
        sheet.paste((40 * number,) * 3, (left, top, left + 90, top + 60))
        what = {"cell": number, "cells": 4, "layer": layer, "ratio": ratio, "box": [left, top, 90, 60]}
        cells.append(what | {"content_loss": 0.1 * number, "style_loss": 0.2})
    sheet.save(run / "photo.png")
    item = {"input": str(photo), "output": "out/photo.png", "status": "done", "error": None, "cells": cells}
    settings = _STYLIZE | {"style": "style.png"}
    write_record(run, {"command": "stylize", "settings": settings, "items": [item], "counts": {"done": 1}})
    return run


def write_record(run: Path, document: Any) -> None:
    (run / "index_files").mkdir()
    write_json(run / "index_files" / "results.json", document)


def featmap_run(folder: Path) -> Path:
    """Maps of two layers and explanations by two methods of one photo."""
    run = folder / "out"
    photo = draw(folder / ONERROR, 40)
    network = {"network": "efficientnet_lite0", "weights": "default", "size": 224}
    entries = []
    for number, layer in enumerate(("stem", "blocks.1")):
        draw(run / "photo" / f"{layer}.png", 100 + number)
        own = {"kind": "maps", "layer": layer, "shape": [32, 7, 7], "channels": [3, 1]}
        entries.append({"output": f"elsewhere/out/photo/{layer}.png", "input": str(photo)} | own | network)
    for number, method in enumerate(("gradcam", "saliency")):
        draw(run / "photo" / f"{method}.png", 120 + number)
        own = {"kind": "overlay", "method": method, "layer": None, "class": SCRIPT, "probability": 0.9, "against": None}
        score = {"deletion": 0.1, "insertion": 0.6, "gain": 0.5} if number == 0 else None
        entry = {"output": f"elsewhere/out/photo/{method}.png", "input": str(photo), "score": score}
        entries.append(entry | own | network)
    write_json(run / "manifest.json", {"version": 1, "pictures": entries})
    return run


def shade_of(path: Path) -> int:
    """The grey of an image that `draw` made, or of a thumbnail of it."""
    with Image.open(path) as image:
        return int(np.asarray(image.convert("L"))[2, 2])
