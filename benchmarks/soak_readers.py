"""Damaged files by the hundred through what reads them, in one process: models, weights, tables, splits, settings."""

import json
import random
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soak_damage import damage

from dltool.autoencoder.autoencoder_file import load_autoencoder
from dltool.backbones.weights import read_tensors
from dltool.cli.app import app
from dltool.data.splits import read_splits_csv
from dltool.errors import DltoolError
from dltool.finetune.classifier_file import load_classifier
from dltool.gan.generator_file import load_generator


def _command(*words: str) -> Callable[[Path], None]:
    """What runs a command with the file in the place of `{}`, in this process."""

    def run(path: Path) -> None:
        try:
            app([word.replace("{}", str(path)) for word in words])
        except SystemExit:
            return

    return run


_CLUSTER = ("cluster", "{}", "-o", "none", "-k", "2", "--dry-run", "-q")
_STYLIZE = ("stylize", "../photos/0.png", "-s", "../style.jpg", "-o", "none.png", "--config", "{}", "--dry-run", "-q")
READERS: dict[str, Callable[[Path], Any]] = {
    "models/finetune.safetensors": load_classifier,
    "models/gan.safetensors": load_generator,
    "models/ae.safetensors": load_autoencoder,
    "models/splits.csv": read_splits_csv,
    "weights.pt": read_tensors,
    "weights.safetensors": read_tensors,
    "table.csv": _command(*_CLUSTER),
    "table.npy": _command(*_CLUSTER),
    "settings.toml": _command(*_STYLIZE),
}


def read_damaged(workshop: Path, seed: int, count: int) -> None:
    """Read `count` damaged ones of every kind; print as JSON how many were read, and how many were refused in words.

    What is raised beside that is printed as a traceback.
    """
    dice, ends = random.Random(seed), Counter[str]()
    for name, read in READERS.items():
        content = (workshop / name).read_bytes()
        for _ in range(count):
            path = Path(Path(name).name)
            path.write_bytes(damage(content, path.suffix, dice))
            try:
                read(path)
                ends["read"] += 1
            except DltoolError:
                ends["refused"] += 1
            except Exception:
                traceback.print_exc()
    print(json.dumps(ends))
