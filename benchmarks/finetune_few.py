"""A head from few labels: the default of `dltool finetune` beside scikit-learn's logistic regression.

    python benchmarks/finetune_few.py [--draws 10] [--cache FOLDER] [--json FILE]

Each draw takes some images of each class from the training folder (20 + 20, and fifteen times as many of one class as
of the other), trains on them, and is scored on the test images; figures are means over draws. Of 20 + 20 the rest of
the training folder is also given as `--unlabelled`. Data: ants_bees (its val) and catanddog (its test) of
DLTOOL_TEST_DATA. `LogisticRegressionCV` is fitted on standardised features of all the labelled images, the same ones,
with its default score (accuracy) and with the log loss. Printed, too, is how often the cross-validated accuracy was
below the larger class's share, and how often the line that tells it said so.
"""

import argparse
import json
import os
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dltool.data.features import FeatureExtractor
from dltool.data.pixels import PixelReader
from dltool.data.settings import DataSettings
from dltool.data.splits import join_splits
from dltool.events import finish
from dltool.finetune.metrics import classification_metrics
from dltool.finetune.report import BELOW, describe_accuracy
from dltool.finetune.settings import FinetuneSettings, Strategy
from dltool.finetune.train import FinetuneResult, finetune
from dltool.training.context import RunContext

DATA = Path(os.environ.get("DLTOOL_TEST_DATA", Path(__file__).parents[2] / "shared")) / "data"
TESTS = {"ants_bees": "val", "catanddog": "test"}
DRAWS = (("ants_bees", 20, 20), ("catanddog", 20, 20), ("ants_bees", 120, 8), ("catanddog", 180, 12))
FIGURES = ("accuracy", "balanced_accuracy", "loss", "ece")
CPU = torch.device("cpu")


def draw(name: str, many: int, few: int, seed: int, folder: Path) -> Path:
    """A folder with `train/`, links to so many images of each class (the roles change with the seed), and `test/`.

    The other training images are in `rest` beside it.
    """
    rest = folder.with_name("rest")
    rest.mkdir()
    random = np.random.default_rng(seed)
    classes = sorted(path for path in (DATA / name / "train").iterdir() if path.is_dir())
    counts = (many, few) if seed % 2 == 0 else (few, many)
    for path, count in zip(classes, counts, strict=True):
        files = sorted(path.iterdir())
        own = folder / "train" / path.name
        own.mkdir(parents=True)
        order = random.permutation(len(files))
        for place, chosen in ((own, order[:count]), (rest, order[count:])):
            for index in chosen:
                (place / f"{path.name}_{files[index].name}").symlink_to(files[index])
    (folder / "test").symlink_to(DATA / name / TESTS[name])
    return folder


def by_scikit_learn(result: FinetuneResult, cache: Path) -> dict[str, dict[str, Any]]:
    """Metrics of logistic regression on the features that the result's head stands on."""
    classifier, splits = result.classifier, result.dataset.splits
    extractor = FeatureExtractor(classifier.module.body, classifier.preprocessing, CPU, cache=cache)
    features, labels = {}, {}
    for name, split in {"train": join_splits([splits["train"], splits["val"]]), "test": splits["test"]}.items():
        for _ in extractor.fill(split, PixelReader(classifier.preprocessing), 1):
            pass
        features[name], labels[name] = extractor.store().rows(split.hashes).double().numpy(), split.labels
    found = {}
    for name, scoring in (("LogisticRegressionCV", None), ("… scoring='neg_log_loss'", "neg_log_loss")):
        model = make_pipeline(StandardScaler(), LogisticRegressionCV(cv=5, max_iter=2000, scoring=scoring))
        scores = torch.from_numpy(model.fit(features["train"], labels["train"]).decision_function(features["test"]))
        logits = scores if scores.ndim == 2 else torch.stack([torch.zeros_like(scores), scores], dim=1)
        metrics = classification_metrics(logits, torch.from_numpy(labels["test"]), classifier.class_names)
        found[name] = metrics
    return found


def compare(name: str, many: int, few: int, draws: int, cache: Path) -> dict[str, dict[str, float]]:
    """Mean figures by way."""
    rows: dict[str, list[dict[str, Any]]] = {}
    below, said, used = 0, 0, 0
    for seed in range(draws):
        with tempfile.TemporaryDirectory() as temporary:
            folder = draw(name, many, few, seed, Path(temporary) / "data")
            settings = FinetuneSettings(backbone="efficientnet_lite0", strategy=Strategy.FEATURES, seed=seed)
            result = train(folder, settings, cache)
            found = {"dltool": result.test_metrics} | by_scikit_learn(result, cache)
            if many == few:
                settings = replace(settings, unlabelled=folder.with_name("rest"))
                spread = train(folder, settings, cache)
                found["dltool --unlabelled"] = spread.test_metrics
                used += spread.unlabelled.used
        whole = result.cross_validation
        below += whole["accuracy"] < whole["majority_accuracy"]
        said += whole["accuracy"] < whole["majority_accuracy"] and BELOW in describe_accuracy(whole)
        for way, figures in found.items():
            rows.setdefault(way, []).append(figures)
    print(f"cross-validated accuracy below the larger class's share: {below} of {draws}, said {said}; spread {used}")
    return {way: {f: float(np.mean([row[f] for row in found])) for f in FIGURES} for way, found in rows.items()}


def train(folder: Path, settings: FinetuneSettings, cache: Path) -> FinetuneResult:
    """A run on a draw."""
    return finish(finetune(DataSettings(str(folder), seed=settings.seed), settings, RunContext(CPU, cache=cache)))


def main() -> None:
    """Compare on every set and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    table = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, many, few in DRAWS:
            what = f"{name}, {many} + {few}"
            table[what] = compare(name, many, few, options.draws, options.cache or Path(temporary))
            print(f"{what}, {options.draws} draws\n{'':26}  accuracy  balanced    loss     ECE")
            for way, row in table[what].items():
                print(
                    f"{way:26}  {100 * row['accuracy']:6.2f} %  {100 * row['balanced_accuracy']:6.2f} %  "
                    f"{row['loss']:.4f}  {100 * row['ece']:4.1f} %",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
