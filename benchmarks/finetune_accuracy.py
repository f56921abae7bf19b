"""What the default of `dltool finetune` is worth beside plain logistic regression, partial and two-phase.

    python benchmarks/finetune_accuracy.py [--sets ants_bees …] [--ways default …] [--cache FOLDER] [--json FILE]

Accuracy on test images with its 95 % interval, log loss, calibration error, and seconds by the clock and of all
processors; of the default also those of a second run, which finds its features in the cache. Data of DLTOOL_TEST_DATA:
ants_bees (test: its val), catanddog (its test), FashionMNIST as files (50 of each class, test: 50 more); and
sample_images/textures (test: three tenths). Logistic regression is scikit-learn's `LogisticRegressionCV` by log loss on
the features of dltool's default. All have Lite0, but for the row of Lite2, which is the default with that network.
"""

import argparse
import gzip
import json
import os
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from finetune_few import CPU, DATA, TESTS, by_scikit_learn
from PIL import Image

from dltool.data.settings import DataSettings
from dltool.events import finish
from dltool.finetune.settings import FinetuneSettings, Strategy
from dltool.finetune.train import FinetuneResult, finetune
from dltool.training.context import RunContext

TEXTURES = Path(__file__).parents[1] / "sample_images" / "textures"
SETS = ("ants_bees", "catanddog", "textures", "FashionMNIST")
_LITE0 = FinetuneSettings(backbone="efficientnet_lite0")
WAYS = {
    "default": _LITE0,
    "Lite2": FinetuneSettings(backbone="efficientnet_lite2"),
    "partial": replace(_LITE0, strategy=Strategy.PARTIAL),
    "two-phase": replace(_LITE0, strategy=Strategy.TWO_PHASE),
}
PLAIN = "… scoring='neg_log_loss'"


def data_of(name: str, folder: Path) -> DataSettings:
    """A set with a test split, its files linked or written below `folder`."""
    if name == "textures":
        return DataSettings(str(TEXTURES), test=0.3)
    if name in TESTS:
        (folder / "train").symlink_to(DATA / name / "train")
        (folder / "test").symlink_to(DATA / name / TESTS[name])
        return DataSettings(str(folder))
    for split, prefix in (("train", "train"), ("test", "t10k")):
        raw = DATA / name / "raw"
        images = np.frombuffer(gzip.decompress((raw / f"{prefix}-images-idx3-ubyte.gz").read_bytes()), np.uint8, -1, 16)
        labels = np.frombuffer(gzip.decompress((raw / f"{prefix}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, -1, 8)
        for label in range(10):
            (folder / split / str(label)).mkdir(parents=True)
            for index in np.flatnonzero(labels == label)[:50]:
                pixels = images.reshape(-1, 28, 28)[index]
                Image.fromarray(pixels).save(folder / split / str(label) / f"{index}.png")
    return DataSettings(str(folder))


def describe(way: str, metrics: dict[str, Any], seconds: list[float]) -> str:
    """A row of the table."""
    low, high = metrics["accuracy_interval"]
    took = "  {:6.1f} s ({:6.1f} s)".format(*seconds) if seconds else ""
    interval = f"{100 * low:5.1f} to {100 * high:5.1f}"
    loss = f"{metrics['loss']:.4f}  {100 * metrics['ece']:4.1f} %"
    return f"  {way:20}  {100 * metrics['accuracy']:5.1f} %  {interval}  {loss}{took}"


def train(data: DataSettings, settings: FinetuneSettings, cache: Path) -> tuple[FinetuneResult, list[float]]:
    """A run, and its seconds by the clock and of all processors."""
    started = time.perf_counter(), time.process_time()
    result = finish(finetune(data, settings, RunContext(CPU, cache=cache)))
    return result, [time.perf_counter() - started[0], time.process_time() - started[1]]


def measure(name: str, ways: list[str], cache: Path) -> dict[str, dict[str, Any]]:
    """Metrics on test by way, printed as they come."""
    found: dict[str, dict[str, Any]] = {}

    def keep(way: str, metrics: dict[str, Any], seconds: list[float], strategy: str = "") -> None:
        found[way] = metrics | {"seconds": seconds}
        print(describe(f"{way} ({strategy})" if strategy else way, metrics, seconds), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        data = data_of(name, Path(folder))
        for way in ways:
            result, seconds = train(data, WAYS[way], cache)
            keep(way, result.test_metrics, seconds, result.settings.strategy)
            if way == "default":
                keep("default again", *_again(data, cache))
            if way == "default" and result.settings.strategy is Strategy.FEATURES:
                keep("logistic regression", by_scikit_learn(result, cache)[PLAIN], [])
    return found


def _again(data: DataSettings, cache: Path) -> tuple[dict[str, Any], list[float]]:
    result, seconds = train(data, WAYS["default"], cache)
    return result.test_metrics, seconds


def main() -> None:
    """Measure every way on every set and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    table = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.sets:
            print(f"{name:22}  accuracy   95 % interval    loss     ECE    time (of all processors)")
            table[name] = measure(name, options.ways, options.cache or Path(temporary))
    if options.json:
        options.json.write_text(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
