"""Two processes that train together while one of them has a fault; started as a program by the tests.

Each of both leaves `FAULT-RANK.pt` in the folder: what it learnt, what it told, and its epochs.
"""

import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sklearn.datasets  # noqa: F401 (imported once here rather than in every child)
import torch
import torchvision  # noqa: F401
from torch import Tensor, nn

import dltool.training.session
from dltool.autoencoder.settings import AeSettings, ImageData
from dltool.autoencoder.train import train_autoencoder
from dltool.data.settings import DataSettings
from dltool.events import finish
from dltool.finetune.settings import FinetuneSettings
from dltool.finetune.train import finetune
from dltool.gan.settings import GanSettings
from dltool.gan.train import train_gan
from dltool.training import distributed
from dltool.training.context import RunContext
from dltool.training.events import Notice
from tests.forks import work_in_two

CPU = torch.device("cpu")
FITS = 4
SECONDS = 2.0


def train_classifier(time: float | None, context: RunContext) -> Generator[Any, None, nn.Module | None]:
    """A small network on digits, with batch norms and an average of its weights."""
    settings = FinetuneSettings(
        backbone="cnn", batch_size=20, epochs=10_000 if time else 1, ema=0.9, augment="basic", time=time
    )
    result = yield from finetune(DataSettings("digits", limit=60), settings, context)
    return result and result.classifier.module


def train_denoiser(time: float | None, context: RunContext) -> Generator[Any, None, nn.Module | None]:
    """An autoencoder on noisy digits."""
    settings = AeSettings(
        arch="conv", noise="gaussian:0.2", batch_size=20, epochs=10_000 if time else 1, latent_dim=4, time=time
    )
    result = yield from train_autoencoder(ImageData("digits", limit=60), settings, context)
    return result and result.autoencoder.module


def train_pair(time: float | None, context: RunContext) -> Generator[Any, None, nn.Module | None]:
    """A GAN with batch norms; of fewer than ten images, so that no quality figure is waited for."""
    settings = GanSettings(arch="dcgan", epochs=10_000 if time else 1, batch_size=9, passes=6, width=4, time=time)
    result = yield from train_gan(DataSettings("digits", limit=9), settings, context)
    return result and result.generator.module


TRAINERS = {"finetune": train_classifier, "ae": train_denoiser, "gan": train_pair}


def run_out_forward() -> None:
    """From now on convolutions in training don't take more than a few images."""
    forward = nn.Conv2d.forward

    def limited(self: nn.Conv2d, images: Tensor) -> Tensor:
        if self.training and len(images) > FITS:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, images)

    nn.Conv2d.forward = limited


def run_out_backward() -> None:
    """From now on no gradient of more than a few images goes through a convolution."""
    forward = nn.Conv2d.forward

    def fail(gradient: Tensor) -> None:
        if len(gradient) > FITS:
            raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")

    def limited(self: nn.Conv2d, images: Tensor) -> Tensor:
        outputs = forward(self, images)
        if outputs.requires_grad:
            outputs.register_hook(fail)
        return outputs

    nn.Conv2d.forward = limited


def hurry() -> None:
    """From now on the clock of training runs half as fast again."""
    dltool.training.session.time = SimpleNamespace(monotonic=lambda: 1.5 * time.monotonic())


FAULTS: dict[str, Callable[[], None]] = {
    "forward": run_out_forward,
    "backward": run_out_backward,
    "time": hurry,
    "stop": lambda: None,
}


def work(command: str, fault: str, folder: Path) -> None:
    """Train in this process, which has the fault if it is the second."""
    second = distributed.rank() == 1
    if second:
        FAULTS[fault]()
    events: list[Any] = []
    asked = iter([False] * 2 + [True] * 9)
    should_stop = (lambda: next(asked)) if fault == "stop" and second else lambda: False
    context = RunContext(CPU, workers=0, should_stop=should_stop)
    run = TRAINERS[command](SECONDS if fault == "time" else None, context)
    learnt = finish(run, events.append)
    tensors = learnt.state_dict() if learnt is not None else {}
    notices = [event.text for event in events if isinstance(event, Notice)]
    ends = [(type(event).__name__, getattr(event, "epoch", None), getattr(event, "step", None)) for event in events]
    torch.save({"tensors": tensors, "notices": notices, "ends": ends}, folder / f"{fault}-{distributed.rank()}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in FAULTS:
        work_in_two(lambda name=name: work(sys.argv[1], name, Path(sys.argv[2])))
