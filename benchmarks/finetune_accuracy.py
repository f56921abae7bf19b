"""What the defaults of `--strategy features` are worth: accuracy over seeds, data sets and settings.

    python benchmarks/finetune_accuracy.py [--seeds 3] [--threads 2] [--json FILE]

Rows are settings that differ from the defaults in one thing. Data: ants_bees (val 153) and catanddog (test 98) of
DLTOOL_TEST_DATA; where there is no val/, the seed also changes the split.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from dltool.data.settings import DataSettings
from dltool.events import finish
from dltool.finetune.settings import FinetuneSettings, Head, Strategy
from dltool.finetune.train import finetune
from dltool.training.context import RunContext

DATA = Path(os.environ.get("DLTOOL_TEST_DATA", Path(__file__).parents[2] / "shared")) / "data"
SETS = ("ants_bees", "catanddog")
VARIANTS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "one size": {"multiscale": False},
    "head_lr 1e-3": {"head_lr": 1e-3},
    "no flips": {"augment": "none"},
    "mlp head": {"head": Head.MLP},
    "no penalty": {"head_l2": 0.0},
}


def accuracy(data: Path, settings: FinetuneSettings, seed: int, cache: Path) -> float:
    """Test accuracy, or validation accuracy where there is no test split."""
    context = RunContext(torch.device("cpu"), cache=cache)
    result = finish(finetune(DataSettings(str(data), seed=seed), settings, context))
    assert result is not None  # nothing stops it
    return (result.test_metrics or result.metrics)["accuracy"]


def main() -> None:
    """Train every variant on every set with every seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as cache:
        for name, changes in VARIANTS.items():
            table[name] = {}
            for data in SETS:
                table[name][data] = [
                    accuracy(
                        DATA / data, FinetuneSettings(strategy=Strategy.FEATURES, seed=s, **changes), s, Path(cache)
                    )
                    for s in range(options.seeds)
                ]
            figures = ["  ".join(f"{100 * v:5.1f}" for v in table[name][data]) for data in SETS]
            print(f"{name:14}  " + "   |   ".join(f"{d}: {f}" for d, f in zip(SETS, figures, strict=True)), flush=True)
    if options.json:
        options.json.write_text(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
