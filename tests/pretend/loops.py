"""What each loop hands to a card in one step, counted on the pretend one; `benchmarks/gpu_counts.py` prints it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from dltool.autoencoder.settings import AeSettings, ImageData
from dltool.autoencoder.train import train_autoencoder
from dltool.backbones.registry import create_backbone
from dltool.cluster.kmeans import lloyd_torch
from dltool.data.settings import DataSettings, LabelledData
from dltool.denoise.denoiser import SHIPPED_DENOISER, load_denoiser
from dltool.denoise.tiles import restore_in_tiles
from dltool.events import finish
from dltool.finetune.settings import FinetuneSettings
from dltool.finetune.train import finetune
from dltool.gan.loop import GanLoop
from dltool.gan.settings import GanSettings
from dltool.gan.train import train_gan
from dltool.stylize import FeatureNetwork, StyleTargets, StylizeSettings
from dltool.stylize.optimize import stylize_together
from dltool.training.context import RunContext
from dltool.training.loop import TrainingLoop
from tests.pretend.card import CUDA, Counts, pretend_card

SAMPLES = Path(__file__).parents[2] / "sample_images"
Step = tuple[float, float, float]
"""Kernels, waits and copies that are waited for."""


def count_stylize(images: int = 1, masks: int = 0) -> Step:
    """One evaluation and L-BFGS step with a full history, of 48-pixel images on EfficientNet-Lite0."""
    with pretend_card() as card:
        network = FeatureNetwork(create_backbone("efficientnet_lite0"), CUDA)
        random = torch.Generator().manual_seed(0)
        contents = [torch.rand(1, 3, 32, 48, generator=random) for _ in range(images)]
        mask = None if not masks else torch.full((1, masks, 32, 48), 1 / masks)
        with network:
            styles = [StyleTargets(network, torch.rand(1, 3, 32, 32, generator=random)) for _ in range(max(1, masks))]
            settings = StylizeSettings(steps=15, scales=1)
            events = stylize_together(contents, styles, network, settings, CUDA, mask=mask)
            return _between(card, (each for index, each in _drained(events) if index == 0), 13)


def count_finetune() -> Step:
    """One step of `finetune --strategy full` from files."""
    data = LabelledData(str(SAMPLES / "textures"), limit=30)
    settings = FinetuneSettings(strategy="full", size=32, epochs=1, batch_size=4)
    return _in_training(TrainingLoop, lambda context: finetune(data, settings, context))


def count_unet() -> Step:
    """One step of `ae train --arch unet` with its four levels."""
    data = ImageData(str(SAMPLES / "photos"))
    settings = AeSettings(
        arch="unet", noise="gaussian:25/255", patch_size=32, crops_per_image=4, epochs=1, batch_size=4
    )
    return _in_training(TrainingLoop, lambda context: train_autoencoder(data, settings, context))


def count_gan() -> Step:
    """One step of `gan train` without penalties."""
    data = DataSettings("digits", limit=20)
    settings = GanSettings(epochs=1, batch_size=4, width=8, size=8, passes=1, grid=4)
    return _in_training(GanLoop, lambda context: train_gan(data, settings, context))


def count_kmeans() -> Step:
    """One iteration of k-means."""
    with pretend_card() as card:
        rows = torch.rand(500, 8, generator=torch.Generator().manual_seed(0)).to(CUDA)
        marks = []
        for iterations in (3, 4):
            card.reset()
            lloyd_torch(rows, rows[:20].clone(), rows.mean(0), iterations, 0.0)
            marks.append(card.step())
    return _difference(*marks)


def count_denoise() -> Step:
    """One tile of `ae denoise`, of eight that go together."""
    with pretend_card() as card:
        denoiser = load_denoiser(SHIPPED_DENOISER, CUDA)
        pixels = np.full((128, 784, 3), 100, np.uint8)
        card.reset()
        steps: list[Any] = []
        finish(restore_in_tiles(pixels, denoiser, 128, 32, CUDA), steps.append)
        return tuple(number / len(steps) for number in card.step())  # type: ignore[return-value]


LOOPS: dict[str, Callable[[], Step]] = {
    "stylize, Lite0": count_stylize,
    "stylize, two masks": lambda: count_stylize(masks=2),
    "stylize, three together": lambda: count_stylize(images=3),
    "finetune full": count_finetune,
    "ae, U-Net": count_unet,
    "gan": count_gan,
    "k-means iteration": count_kmeans,
    "denoise tile": count_denoise,
}


def _between(card: Counts, events: Iterable[Any], number: int) -> Step:
    """What is counted between two events that follow each other, from that of this number on."""
    marks = [card.step() for place, _ in enumerate(events, start=1) if place in (number, number + 1)]
    return _difference(*marks)


def _in_training(loop: type, start: Callable[[RunContext], Any]) -> Step:
    """What is counted from one step's beginning to the next one's, in the middle of an epoch."""
    marks: list[Step] = []
    real = loop._train_step  # type: ignore[attr-defined]

    def step(*arguments: Any) -> Any:
        marks.append(card.step())
        if len(marks) == 4:
            raise _EnoughSeen
        return real(*arguments)

    with pretend_card() as card, patch.object(loop, "_train_step", step), suppress(_EnoughSeen):
        finish(start(RunContext(CUDA, workers=0)), lambda _: None)
    return _difference(marks[2], marks[3])


class _EnoughSeen(Exception):
    """The rest of a training is not counted."""


def _drained(events: Iterable[Any]) -> Iterator[Any]:
    yield from events


def _difference(first: Step, second: Step) -> Step:
    return tuple(after - before for before, after in zip(first, second, strict=True))  # type: ignore[return-value]
