"""One training run from data to a generator, as a generator of what happens."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dltool.data.check import Checked
from dltool.data.settings import DataSettings
from dltool.errors import DataError, SettingsError
from dltool.gan.data import GanData, load_images
from dltool.gan.generator_file import TrainedGenerator
from dltool.gan.loop import GanEpochEnd, GanLoop, GanStepEnd
from dltool.gan.networks import build_discriminator, build_generator
from dltool.gan.settings import GanSettings, NetworkSpec, complete
from dltool.gan.start import Start, continued_settings, read_start, take_over
from dltool.settings import as_plain
from dltool.training import distributed
from dltool.training.context import RunContext
from dltool.training.events import Notice, Stopped
from dltool.training.seeds import seeded
from dltool.training.session import Session

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

    @property
    def line(self) -> str:
        """Networks, loss and length of the training in words."""
        settings = self.settings
        length = f"{settings.epochs} epochs" if settings.time is None else f"{settings.time:g} s"
        passes = f" of {settings.passes} passes each" if settings.passes > 1 else ""
        marks = {"conditional": settings.conditional, "augmented": self.augmented, "bf16": self.bf16}
        extras = "".join(f", {text}" for text, holds in marks.items() if holds)
        generator, discriminator = self.parameters
        return (
            f"{settings.arch}: generator {generator:,} and discriminator {discriminator:,} parameters, "
            f"{settings.loss} loss, {length}{passes}{extras}"
        )


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

    @property
    def line(self) -> str:
        """Which snapshot is the best, in words."""
        if not self.figure:
            return f"{self.epochs} epochs; too few pictures for a quality figure, so the last snapshot is kept"
        name = {"frechet": "Fréchet distance", "kid": "KID"}[self.figure]
        value = self.generator.metrics[self.figure]
        return f"best snapshot: epoch {self.best_epoch}, {name} {value:.4g} (quick features)"

    @property
    def figures(self) -> dict[str, Any]:
        """What was made of what, and how well, as the JSON document has it."""
        generator, discriminator = self.decided.parameters
        return {
            "data": self.decided.data.facts,
            "classes": self.generator.class_names,
            "latent_dim": self.decided.spec.latent_dim,
            "parameters": {"generator": generator, "discriminator": discriminator},
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "training_seconds": round(self.seconds, 3),
            "metrics": self.generator.metrics,
            "notes": self.decided.data.notes,
        }


Event = Checked | Decided | GanStepEnd | GanEpochEnd | Notice | Stopped


def train_gan(
    data: DataSettings, settings: GanSettings, context: RunContext
) -> Generator[Event, None, GanResult | None]:
    """Load the images, train, measure, keep the best, and return the result; None once it was stopped.

    Raises:
        DataError, DeviceError, SettingsError: each with one line that says what to do.
        DltoolError: the loss is not finite; the last good checkpoint is kept.
    """
    (images,) = yield from load_images(data, settings.size, context.workers, exclude=context.run and context.run.path)
    state = context.load_checkpoint()
    settings, start = decide_settings(settings, images, begun=state is not None)
    if context.run is not None:
        context.open_run("gan train", data, images.digest, as_plain(settings), _MAY_CHANGE)
    decided, loop, taken = _build(images, settings, context, start)
    yield decided
    if taken:
        yield Notice(taken)
    if state is not None:
        loop.resume(state)
    if not (yield from loop.run()):
        return None
    if context.run is not None and distributed.rank() == 0:
        loop.finish()
    return GanResult(
        generator=loop.best(),
        decided=decided,
        figure=loop.figure_name,
        best_epoch=loop.best_epoch,
        epochs=len(loop.session.history),
        images_seen=loop.images_seen,
        history=tuple(loop.session.history),
        seconds=loop.session.elapsed,
    )


def decide_settings(settings: GanSettings, images: GanData, begun: bool = False) -> tuple[GanSettings, Start | None]:
    """Every setting, and the networks to start from, which a run that has `begun` needs no more.

    Raises:
        ModelError, SettingsError: what it is to start from cannot be used.
    """
    start = read_start(settings.start) if settings.start is not None and not begun else None
    if start is not None:
        settings = continued_settings(settings, start, images.size)
    return complete(settings, images.class_counts, images.size), start


def _build(
    images: GanData, settings: GanSettings, context: RunContext, start: Start | None
) -> tuple[Decided, GanLoop, str]:
    """The run's settings and loop, and what there is to say of the networks that it starts from."""
    if settings.conditional and len(images.class_names) < 2:
        raise DataError(f"--conditional: {images.name} has no classes; a folder of pictures for each is needed")
    world = distributed.world_size()
    if min(settings.batch_size, len(images)) < world:
        raise SettingsError(f"--batch-size {settings.batch_size}: less than a picture for each of {world} processes")
    num_classes = len(images.class_names) if settings.conditional else 0
    spec = NetworkSpec(settings.arch, images.size, images.channels, settings.latent_dim, num_classes, settings.width)
    with seeded(settings.seed, "networks"):
        networks = build_generator(spec), build_discriminator(spec)
    taken = "" if start is None else _take_over(*networks, start, images.class_names[:num_classes])
    generator, discriminator = (n.to(context.device, memory_format=torch.channels_last) for n in networks)
    session = Session(context.run, context.should_stop, settings.time, context.checkpoint_seconds)
    loop = GanLoop(generator, discriminator, images, settings, session, context.device)
    counts = tuple(sum(p.numel() for p in network.parameters()) for network in networks)
    return Decided(settings, spec, images, counts, loop.augmented, loop.bf16), loop, taken


def _take_over(generator: nn.Module, discriminator: nn.Module, start: Start, names: Sequence[str]) -> str:
    shares = [f"{take_over(generator, start.generator, names, start.class_names):.0%} of the generator"]
    if start.discriminator is not None:
        share = take_over(discriminator, start.discriminator, names, start.class_names)
        shares.append(f"{share:.0%} of the discriminator")
    return f"taken over from {start.path}: {' and '.join(shares)}"
