"""Runs in processes that are killed, and in two that share every batch; started as a program by the tests.

The processes are forked from one that has imported everything but computed nothing, so that each costs milliseconds.
"""

import json
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path

import imageio.v3  # noqa: F401 (imported once here rather than in every child)
import matplotlib.backends.backend_agg  # noqa: F401
import sklearn.datasets  # noqa: F401
import torch
import torch._dynamo

from dltool.data.load import DataSettings
from dltool.gan.settings import GanSettings
from dltool.gan.train import Surroundings, train_gan
from dltool.training import distributed
from dltool.training.run_folder import RunFolder
from tests.finetune.processes import fork

CPU = torch.device("cpu")
# Fewer than ten pictures: no quality figure, whose backbone would be all that the test waits for.
DATA = DataSettings("digits", limit=9)


def train(settings: GanSettings, folder: Path) -> None:
    """Train to the end; every step writes a checkpoint, so that there is much to be disturbed."""
    resume = (folder / "config.json").is_file()
    around = Surroundings(CPU, RunFolder(folder), workers=0, resume=resume, overwrite=True, checkpoint_seconds=0.0)
    for _ in train_gan(DATA, settings, around):
        pass


def kill_again(folder: Path) -> None:
    """Kill a run four times at random moments, let it end, and train another one undisturbed."""
    settings = GanSettings(epochs=3, batch_size=4, width=4, passes=4, augment="on", grid=4)
    started = time.monotonic()
    assert os.waitpid(fork(lambda: train(settings, folder / "whole")), 0)[1] == 0
    duration = time.monotonic() - started
    moments = random.Random(0)
    kills = 0
    while kills < 4:
        child = fork(lambda: train(settings, folder / "killed"))
        time.sleep(moments.uniform(0.1, 0.8) * duration)
        os.kill(child, signal.SIGKILL)
        kills += os.waitpid(child, 0)[1] == signal.SIGKILL
    assert os.waitpid(fork(lambda: train(settings, folder / "killed")), 0)[1] == 0
    print(json.dumps({"kills": kills}))


def work_together(folder: Path) -> None:
    """Train once in one process and once in two that share every batch."""
    # Augmentation is each process's own.
    settings = GanSettings(epochs=2, batch_size=7, width=4, passes=2, grid=4, precision="fp32", augment="off")
    assert os.waitpid(fork(lambda: train(settings, folder / "one")), 0)[1] == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def work(rank: int) -> None:
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in names.items()})
        with distributed.process_group(CPU):
            train(settings, folder / "two")
            distributed.barrier()

    children = [fork(lambda rank=rank: work(rank)) for rank in range(2)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]


if __name__ == "__main__":
    torch.set_num_threads(1)
    {"kill": kill_again, "together": work_together}[sys.argv[1]](*map(Path, sys.argv[2:]))
