"""How long it takes to train a classifier on a frozen backbone: dltool beside the loop that tutorials show.

    python benchmarks/finetune_speed.py [DATA] [--epochs 30] [--threads 2] [--json FILE]

The plain loop is torchvision's ImageFolder with the default DataLoader, Resize, CenterCrop and random flips, the whole
network forward in every epoch with a frozen backbone in float32 and contiguous memory, AdamW on a linear head, and a
validation after every epoch. Both sides see the same images for the same number of epochs with the same backbone
(the bundled one), in the same process, one after the other. dltool is measured with an empty cache and again with the
cache that it left; its time includes the data check and the final evaluation. DATA has train/ and val/; the default
is ants_bees of DLTOOL_TEST_DATA.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from dltool.backbones.pooled import remove_classifier
from dltool.backbones.registry import create_backbone
from dltool.data.settings import DataSettings
from dltool.events import finish
from dltool.finetune.settings import FinetuneSettings, Strategy
from dltool.finetune.train import finetune
from dltool.training.context import RunContext

DATA = Path(os.environ.get("DLTOOL_TEST_DATA", Path(__file__).parents[2] / "shared")) / "data" / "ants_bees"


@dataclass(frozen=True)
class Row:
    """One contestant's seconds and best validation accuracy."""

    name: str
    seconds: float
    accuracy: float


def plain_loop(data: Path, epochs: int, seed: int) -> Row:
    """Train a head as the tutorials do."""
    started = time.perf_counter()
    torch.manual_seed(seed)
    backbone = create_backbone("efficientnet_lite0")
    normalize = [transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]
    crop = [transforms.Resize(256, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(224)]
    train = datasets.ImageFolder(
        data / "train", transforms.Compose([*crop, transforms.RandomHorizontalFlip(), *normalize])
    )
    val = datasets.ImageFolder(data / "val", transforms.Compose([*crop, *normalize]))
    body, dim, _ = remove_classifier(backbone)
    model = nn.Sequential(body.requires_grad_(False), nn.Linear(dim, len(train.classes)))
    optimizer = torch.optim.AdamW(model[1].parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    best = 0.0
    for _ in range(epochs):
        model.eval()  # the backbone's batch norms stay frozen; the head has none
        for images, labels in DataLoader(train, batch_size=32, shuffle=True):
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        with torch.no_grad():
            hits = sum(
                int((model(images).argmax(1) == labels).sum()) for images, labels in DataLoader(val, batch_size=32)
            )
        best = max(best, hits / len(val))
    return Row("plain loop", time.perf_counter() - started, best)


def with_dltool(name: str, data: Path, epochs: int, seed: int, cache: Path) -> Row:
    """Train with dltool's default strategy for such data."""
    started = time.perf_counter()
    settings = FinetuneSettings(strategy=Strategy.FEATURES, epochs=epochs, seed=seed)
    result = finish(finetune(DataSettings(str(data)), settings, RunContext(torch.device("cpu"), cache=cache)))
    assert result is not None  # nothing stops it
    return Row(name, time.perf_counter() - started, result.metrics["accuracy"])


def main() -> None:
    """Run the contestants and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=DATA)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        # dltool goes first, so that warm file caches are the plain loop's advantage.
        common = (options.data, options.epochs, options.seed)
        rows = [with_dltool(name, *common, Path(folder)) for name in ("dltool, first run", "dltool, cached")]
        rows.append(plain_loop(*common))
    print(f"{'':18} {'seconds':>8} {'val accuracy':>13} {'share of the plain time':>24}")
    for row in rows:
        share = row.seconds / rows[-1].seconds
        print(f"{row.name:18} {row.seconds:8.1f} {100 * row.accuracy:11.1f} % {share:17.3f} (1/{1 / share:.1f})")
    if options.json:
        described = {"data": str(options.data), "epochs": options.epochs, "threads": options.threads}
        options.json.write_text(json.dumps({**described, "rows": [asdict(row) for row in rows]}, indent=2))


if __name__ == "__main__":
    main()
