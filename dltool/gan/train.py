"""One training run from data to a generator, as a generator of what happens."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from dltool.data.check import Checked
from dltool.data.load import DataSettings
from dltool.errors import DataError, SettingsError
from dltool.gan.data import GanData, load_images
from dltool.gan.generator_file import TrainedGenerator
from dltool.gan.loop import EpochEnd, GanLoop, StepEnd
from dltool.gan.networks import build_discriminator, build_generator
from dltool.gan.settings import GanSettings, NetworkSpec, complete
from dltool.plain import as_plain
from dltool.training import distributed
from dltool.training.events import Notice, Stopped
from dltool.training.seeds import seeded
from dltool.training.session import Session
from dltool.training.surroundings import Surroundings

_MAY_CHANGE = ("time",)


@dataclass(frozen=True)
class Decided:
    """Data and every setting are known; `parameters` of generator and discriminator."""

    settings: GanSettings
    spec: NetworkSpec
    data: GanData
    parameters: tuple[int, int]
    augmented: bool
    bf16: bool


@dataclass(frozen=True)
class GanResult:
    """The best snapshot of the generator's average, by the quality figure.

    Attributes:
        figure: `frechet`, `kid`, or empty where the images were too few to measure anything.
        best_epoch: the snapshot's; the last where there is no figure.
        images_seen: real images that the discriminator was shown, repetitions counted.
    """

    generator: TrainedGenerator
    decided: Decided
    figure: str
    best_epoch: int
    epochs: int
    images_seen: int
    history: tuple[dict[str, Any], ...]
    seconds: float


Event = Checked | Decided | StepEnd | EpochEnd | Notice | Stopped | GanResult


def train_gan(data: DataSettings, settings: GanSettings, around: Surroundings) -> Iterator[Event]:
    """Load the images, train, measure, keep the best; the last event is GanResult or Stopped.

    Raises:
        DataError, DeviceError, SettingsError: each with one line that says what to do.
        DltoolError: the loss is not finite; the last good checkpoint is kept.
    """
    images: GanData | None = None
    for event in load_images(replace(data, complete=False, labelled=False), settings.size, around.workers):
        if isinstance(event, GanData):
            images = event
        else:
            yield event
    assert images is not None
    settings = complete(settings, images.class_counts, images.size)
    if around.run is not None:
        around.open_run("gan train", data, images.digest, as_plain(settings), _MAY_CHANGE)
    decided, loop = _build(images, settings, around)
    yield decided
    state = around.run.load_checkpoint() if around.run is not None and around.resume else None
    if state is not None:
        loop.resume(state)
    for event in loop.run():
        yield event
        if isinstance(event, Stopped):
            return
    if around.run is not None and distributed.rank() == 0:
        loop.finish()
    yield GanResult(
        generator=loop.best(),
        decided=decided,
        figure=loop.figure_name,
        best_epoch=loop.best_epoch,
        epochs=len(loop.session.history),
        images_seen=loop.images_seen,
        history=tuple(loop.session.history),
        seconds=loop.session.elapsed,
    )


def _build(images: GanData, settings: GanSettings, around: Surroundings) -> tuple[Decided, GanLoop]:
    if settings.conditional and len(images.class_names) < 2:
        raise DataError(f"--conditional: {images.name} has no classes; a folder of pictures for each is needed")
    world = distributed.world_size()
    if min(settings.batch_size, len(images)) < world:
        raise SettingsError(f"--batch-size {settings.batch_size}: less than a picture for each of {world} processes")
    num_classes = len(images.class_names) if settings.conditional else 0
    spec = NetworkSpec(settings.arch, images.size, images.channels, settings.latent_dim, num_classes, settings.width)
    with seeded(settings.seed, "networks"):
        networks = build_generator(spec), build_discriminator(spec)
    generator, discriminator = (n.to(around.device, memory_format=torch.channels_last) for n in networks)
    session = Session(around.run, around.should_stop, settings.time, around.checkpoint_seconds)
    loop = GanLoop(generator, discriminator, images, settings, session, around.device)
    counts = tuple(sum(p.numel() for p in network.parameters()) for network in networks)
    return Decided(settings, spec, images, counts, loop.augmented, loop.bf16), loop
