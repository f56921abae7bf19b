"""Runs in processes that are killed, and in two that share every batch; started as a program by the tests.

The processes are forked from one that has imported everything but computed nothing, so that each costs milliseconds.
"""

import json
import os
import sys
from pathlib import Path

import imageio.v3  # noqa: F401 (imported once here rather than in every child)
import matplotlib.backends.backend_agg  # noqa: F401
import sklearn.datasets  # noqa: F401
import torch
import torch._dynamo

from dltool.data.settings import DataSettings
from dltool.gan.settings import GanSettings
from dltool.gan.train import train_gan
from dltool.training.context import RunContext
from dltool.training.run_folder import RunFolder
from tests.forks import fork, kill_often, work_in_two

CPU = torch.device("cpu")
# Fewer than ten images: no quality figure, whose backbone would be all that the test waits for.
DATA = DataSettings("digits", limit=9)


def train(settings: GanSettings, folder: Path) -> None:
    """Train to the end; every step writes a checkpoint, so that there is much to be disturbed."""
    resume = (folder / "config.json").is_file()
    context = RunContext(CPU, RunFolder(folder), workers=0, resume=resume, overwrite=True, checkpoint_seconds=0.0)
    for _ in train_gan(DATA, settings, context):
        pass


def kill_again(folder: Path) -> None:
    """Kill a run twice at random moments, let it end, and train another one undisturbed."""
    settings = GanSettings(epochs=3, batch_size=6, width=4, passes=2, augment="on", grid=4)
    kills = kill_often(lambda name: train(settings, folder / name), folder, 2)
    print(json.dumps({"kills": kills}))


def work_together(folder: Path) -> None:
    """Train once in one process and once in two that share every batch."""
    # Augmentation is each process's own.
    settings = GanSettings(epochs=2, batch_size=7, width=4, passes=2, grid=4, precision="fp32", augment="off", lr=5e-4)
    assert os.waitpid(fork(lambda: train(settings, folder / "one")), 0)[1] == 0
    work_in_two(lambda: train(settings, folder / "two"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"kill": kill_again, "together": work_together}[sys.argv[1]](*map(Path, sys.argv[2:]))
