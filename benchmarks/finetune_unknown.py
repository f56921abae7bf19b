"""Strangers among images to be classified: what `dltool predict --unknown` finds beside other measures.

    python benchmarks/finetune_unknown.py [--cache FOLDER] [--json FILE]

A model of ants_bees is shown its own test images and those of catanddog, 14 paintings and sample_images/textures; a
model of catanddog likewise. Printed is how well a measure parts the two (AUROC), and for dltool's own also the share of
test images that are kept and of strangers that are called unknown. The others: how unsure the head is; Mahalanobis'
distance from the class (a shared covariance, shrunk as Ledoit and Wolf do); the mean cosine to the five nearest
training images of the class. Data: DLTOOL_TEST_DATA.
"""

import argparse
import json
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from finetune_few import CPU, DATA, TESTS
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.metrics import roc_auc_score
from torch import Tensor

from dltool.data.settings import DataSettings
from dltool.data.splits import FileSplit, content_hash, join_splits
from dltool.events import finish
from dltool.finetune.score import Scorer
from dltool.finetune.settings import FinetuneSettings, Strategy
from dltool.finetune.train import finetune
from dltool.images.folder import list_images
from dltool.training.context import RunContext

STRANGERS = {
    "ants_bees": DATA / "ants_bees" / "val",
    "catanddog": DATA / "catanddog" / "test",
    "paintings": DATA / "style" / "paintings",
    "textures": Path(__file__).parents[1] / "sample_images" / "textures",
}
_NEIGHBOURS = 5

Measure = Callable[[Tensor, Tensor], Tensor]
"""N distances of N × D features from the classes in N answers."""


def split_of(folder: Path) -> FileSplit:
    """All images of a folder, without classes."""
    paths = tuple(path for path, _ in list_images([folder]) if path.name != "imageNotFound.gif")
    hashes = tuple(content_hash(path.read_bytes()) for path in paths)
    return FileSplit(paths, np.zeros(len(paths), int), hashes)


def mahalanobis(features: Tensor, labels: Tensor) -> Measure:
    """From the class's mean, by a covariance that all classes share."""
    means = torch.stack([features[labels == label].mean(0) for label in labels.unique()])
    deviations = (features - means[labels]).numpy()
    shrinkage = ledoit_wolf_shrinkage(deviations, assume_centered=True)
    _, singular, axes = np.linalg.svd(deviations, full_matrices=False)
    variances = (1 - shrinkage) * singular**2 / len(features)
    rest = shrinkage * (singular**2).sum() / len(features) / features.shape[1]

    def measure(others: Tensor, answers: Tensor) -> Tensor:
        away = others.double() - means[answers]
        along = (away @ torch.from_numpy(axes).T).square()
        return (along / torch.from_numpy(variances + rest)).sum(1) + (away.square().sum(1) - along.sum(1)) / rest

    return measure


def nearest(features: Tensor, labels: Tensor) -> Measure:
    """By the cosine to the nearest training images of the class."""

    def measure(others: Tensor, answers: Tensor) -> Tensor:
        likeness = F.normalize(others, dim=1) @ F.normalize(features, dim=1).T
        likeness[answers[:, None] != labels[None]] = -1
        return 1 - likeness.topk(_NEIGHBOURS, dim=1).values.mean(1)

    return measure


def compare(name: str, cache: Path) -> dict[str, dict[str, float]]:
    """AUROC by measure and strangers, and of the model's own the shares kept and called unknown."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "train").symlink_to(DATA / name / "train")
        (folder / "test").symlink_to(DATA / name / TESTS[name])
        settings = FinetuneSettings(backbone="efficientnet_lite0", strategy=Strategy.FEATURES)
        result = finish(finetune(DataSettings(str(folder)), settings, RunContext(CPU, cache=cache)))
        scorer = Scorer(result.classifier, CPU, cache=cache)
        learnt = join_splits([result.dataset.splits[split] for split in ("train", "val")])
        features, own = (finish(scorer.split_features(each)) for each in (learnt, result.dataset.splits["test"]))
    labels = torch.from_numpy(learnt.labels)
    measures: dict[str, Measure] = {
        "unsure head": lambda others, _: 1 - scorer.score_features([others]).softmax(1).amax(1),
        "Mahalanobis": mahalanobis(features.double(), labels),
        "five nearest": nearest(features, labels),
        "dltool": lambda others, answers: scorer.distances([others], answers),
    }
    found: dict[str, dict[str, float]] = {way: {} for way in measures}
    for stranger in [each for each in STRANGERS if each != name]:
        others = finish(scorer.split_features(split_of(STRANGERS[stranger])))
        answers = [scorer.score_features([each]).argmax(1) for each in (own, others)]
        for way, measure in measures.items():
            both = [measure(each, answer) for each, answer in zip((own, others), answers, strict=True)]
            truth = np.repeat([0, 1], [len(own), len(others)])
            found[way][stranger] = float(roc_auc_score(truth, torch.cat(both)))
        found["dltool"] |= {"kept": share(both[0] <= 1), f"unknown {stranger}": share(both[1] > 1)}
    return found


def share(which: Tensor) -> float:
    """Of those that are true."""
    return float(which.double().mean())


def main() -> None:
    """Compare for both models and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    table = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name in TESTS:
            table[name] = compare(name, options.cache or Path(temporary))
            strangers = [each for each in STRANGERS if each != name]
            print(f"a model of {name}, AUROC against " + ", ".join(strangers))
            for way, row in table[name].items():
                print(f"  {way:14}" + "".join(f"  {row[each]:.4f}" for each in strangers), flush=True)
            own = table[name]["dltool"]
            called = ", ".join(f"{100 * own[f'unknown {each}']:.1f} % of {each}" for each in strangers)
            print(f"  kept {100 * own['kept']:.1f} % of its test images; called unknown {called}")
    if options.json:
        options.json.write_text(json.dumps(table, indent=2))


if __name__ == "__main__":
    main()
