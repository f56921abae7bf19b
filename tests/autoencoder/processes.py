"""Training runs that are killed, and two processes that train together; started as a program by the tests."""

import json
import os
import sys
from pathlib import Path

import matplotlib.figure  # noqa: F401 - this and the next two here, or every forked child imports them anew
import sklearn.datasets  # noqa: F401
import torch
import torch._dynamo

from dltool.autoencoder.data import ImageData
from dltool.autoencoder.settings import AeSettings
from dltool.autoencoder.train import train_autoencoder
from dltool.events import finish
from dltool.training.context import RunContext
from dltool.training.run_folder import RunFolder
from tests.forks import fork, kill_often, work_in_two

CPU = torch.device("cpu")


def train(data: ImageData, settings: AeSettings, folder: Path) -> None:
    """Train to the end; every step writes a checkpoint, so that there is much to be disturbed."""
    resume = (folder / "config.json").is_file()
    context = RunContext(CPU, RunFolder(folder), workers=0, resume=resume, overwrite=True, checkpoint_seconds=0.0)
    finish(train_autoencoder(data, settings, context))


def kill(photos: Path, folder: Path) -> None:
    """Kill a run over photos, with noise, crops and an average of weights, twice."""
    settings = AeSettings(
        arch="unet", channels=(4, 8), noise="gaussian:0-55/255,mask:0.1", patch_size=16, crops_per_image=4, epochs=3
    )
    kills = kill_often(lambda name: train(ImageData(str(photos)), settings, folder / name), folder, 2)
    print(json.dumps({"kills": kills}))


def work_together(folder: Path) -> None:
    """Train once in one process and once in two that share every batch."""
    data = ImageData("digits", limit=101)
    settings = AeSettings(arch="stacked", noise="gaussian:0.2", batch_size=25, epochs=2)
    assert os.waitpid(fork(lambda: train(data, settings, folder / "one")), 0)[1] == 0
    work_in_two(lambda: train(data, settings, folder / "two"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"kill": kill, "together": work_together}[sys.argv[1]](*map(Path, sys.argv[2:]))
