"""Runs in processes that are killed, and in two processes that work together; started as a program by the tests.

The processes are forked from one that has imported torch but computed nothing, so that each costs milliseconds.
"""

import json
import os
import sys
from pathlib import Path

import timm  # noqa: F401 (imported once here rather than in every child)
import torch
import torchvision  # noqa: F401

from dltool.data.settings import DataSettings
from dltool.finetune.settings import FinetuneSettings
from dltool.finetune.train import finetune
from dltool.training import distributed
from dltool.training.context import RunContext
from dltool.training.run_folder import RunFolder
from tests.forks import fork, kill_often, work_in_two

CPU = torch.device("cpu")


def train(data: DataSettings, settings: FinetuneSettings, folder: Path, **context: object) -> None:
    """Train to the end; every step writes a checkpoint, so that there is much to be disturbed."""
    run = RunFolder(folder)
    resume = (folder / "config.json").is_file()
    if not resume and distributed.rank() == 0:
        run.create(overwrite=True)
    for _ in finetune(data, settings, RunContext(CPU, run, workers=0, resume=resume, **context)):
        pass


def kill_ten_times(folder: Path) -> None:
    """Kill a run ten times at random moments, let it end, and train another one undisturbed."""
    data = DataSettings("digits", limit=80)
    settings = FinetuneSettings(backbone="cnn", batch_size=16, epochs=20, ema=0.9, augment="basic")

    def work(name: str) -> None:
        train(data, settings, folder / name, checkpoint_seconds=0.0)

    print(json.dumps({"kills": kill_often(work, folder, 10)}))


def work_together(textures: Path, cache: Path, folder: Path) -> None:
    """Train once in one process and once in two that share every batch."""
    data = DataSettings(str(textures))
    settings = FinetuneSettings(
        strategy="partial", unfreeze=2, epochs=2, head_epochs=2, size=64, batch_size=7, optimizer="sgd", lr=1e-2
    )
    assert os.waitpid(fork(lambda: train(data, settings, folder / "one", cache=cache)), 0)[1] == 0
    work_in_two(lambda: train(data, settings, folder / "two", cache=None))


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"kill": kill_ten_times, "together": work_together}[sys.argv[1]](*map(Path, sys.argv[2:]))
