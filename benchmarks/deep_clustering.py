"""How well images that nobody labelled are grouped: found on 60,000, scored on the 10,000 that were never seen.

    python benchmarks/deep_clustering.py DATA [--sets mnist,fashion-mnist] [--methods …] [--seeds 0,1,2] [--json FILE]

DATA is torchvision's folder, with `MNIST/raw` and `FashionMNIST/raw` in it. Labels are used for the score alone: each
group is matched with one class (the Hungarian method). All sets and seeds have the same settings, `dltool cluster`'s
defaults. With `--json`, figures of earlier pieces in FILE are kept and printed too.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from dltool.cluster import ClusterMethod, ClusterSettings, assign, group, load_groups
from dltool.cluster.clustering import GroupingStep
from dltool.cluster.grouping import Grouped
from dltool.cluster.groups_file import save_groups
from dltool.cluster.scores import compare_with_classes
from dltool.cluster.source import ClusterSource, SourceKind
from dltool.data.builtin import load_builtin
from dltool.device import select_device
from dltool.events import finish
from dltool.training.context import RunContext
from dltool.training.run_folder import RunFolder

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "pixels": ("k-means on pixels", {"method": ClusterMethod.KMEANS, "features": "pixels"}),
    "ae": ("autoencoder + k-means", {"method": ClusterMethod.KMEANS, "features": "ae"}),
    "deep": ("deep k-means", {"method": ClusterMethod.DEEP_KMEANS}),
    "gradients": ("k-means on gradients", {"method": ClusterMethod.KMEANS, "features": "gradients"}),
    "manifold": ("manifold (gradients, neighbour graph)", {"method": ClusterMethod.MANIFOLD}),
}


def main() -> None:
    """Run what the command line names, a piece after the other; print a table, write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", default="mnist,fashion-mnist")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--epochs", type=int, help="instead of each method's own")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    figures = json.loads(options.json.read_text()) if options.json and options.json.is_file() else {}
    for name in options.sets.split(","):
        for method in options.methods.split(","):
            for seed in map(int, options.seeds.split(",")):
                key = f"{name}/{method}/{seed}"
                if key in figures:
                    continue
                figures[key] = measure(options.data, name, method, seed, options.epochs, options.device)
                print(f"{key}: {figures[key]}", file=sys.stderr, flush=True)
                if options.json:
                    options.json.write_text(json.dumps(figures, indent=2) + "\n")
    print("\n".join(table(figures)))


def measure(root: Path, name: str, method: str, seed: int, epochs: int | None, device: str) -> dict[str, Any]:
    """Group the training images, assign the test images by the model file, score these."""
    dataset = load_builtin(name, root, download=False)
    sources = {
        split: ClusterSource(name, SourceKind.ARRAYS, images, labels=images.labels, class_names=dataset.class_names)
        for split, images in dataset.splits.items()
    }
    classes = len(dataset.class_names)
    settings = ClusterSettings(k=classes, epochs=epochs, seed=seed, **METHODS[method][1])
    chosen = select_device(device)
    started, worked = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        context = RunContext(chosen, run=RunFolder(Path(folder)), workers=0)
        grouped = watched(group(sources["train"], settings, context))
        seconds, cpu = time.monotonic() - started, time.process_time() - worked
        file = Path(folder) / "model.safetensors"
        save_groups(file, grouped, {}, {})
        new = watched(assign(load_groups(file), sources["test"], context))
    found = compare_with_classes(new.clustering.labels, sources["test"].labels, classes, classes)
    figures = {name: getattr(found, name) for name in ("accuracy", "nmi", "ari")}
    return {**figures, "seconds": seconds, "cpu_seconds": cpu, "own": grouped.clustering.figures}


def watched(events: Generator[Any, None, Grouped | None]) -> Grouped:
    """The result; progress goes to stderr now and then."""
    said = time.monotonic()

    def show(event: Any) -> None:
        nonlocal said
        if isinstance(event, GroupingStep) and time.monotonic() - said > 20:
            said = time.monotonic()
            print(f"  {event.task} {event.done}/{event.total} {event.figure}", file=sys.stderr, flush=True)

    grouped = finish(events, show)
    assert grouped is not None
    return grouped


def table(figures: dict[str, dict[str, Any]]) -> list[str]:
    """Lines of a Markdown table: means over seeds, with the standard deviation of the accuracy."""
    lines = [
        "| set | method | seeds | accuracy % | NMI | ARI | seconds | CPU seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for key, row in figures.items():
        name, method, _ = key.split("/")
        groups.setdefault((name, method), []).append(row)
    order = {method: number for number, method in enumerate(METHODS)}
    for (name, method), rows in sorted(groups.items(), key=lambda item: (item[0][0] != "mnist", order[item[0][1]])):
        accuracy = [100 * row["accuracy"] for row in rows]
        spread = f" ± {stdev(accuracy):.1f}" if len(rows) > 1 else ""
        nmi, ari, seconds, cpu = (mean(row[key] for row in rows) for key in ("nmi", "ari", "seconds", "cpu_seconds"))
        lines.append(
            f"| {name} | {METHODS[method][0]} | {len(rows)} | {mean(accuracy):.1f}{spread} "
            f"| {nmi:.3f} | {ari:.3f} | {seconds:.0f} | {cpu:.0f} |"
        )
    return lines


if __name__ == "__main__":
    main()
