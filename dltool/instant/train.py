"""One training of a style network, from paintings and photos to model files, as a generator of what happens."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dltool.autoencoder.data import Loaded, load_images
from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.registry import create_backbone
from dltool.data.check import Checked
from dltool.data.splits import content_hash
from dltool.device import use_bf16
from dltool.images.read import read_image
from dltool.images.tensors import resize_image, to_tensor
from dltool.instant.network import StyleNetwork
from dltool.instant.settings import InstantSettings, TrainingPhotos
from dltool.instant.style_file import TrainedStyle, describe_painting
from dltool.instant.trainer import EPOCH_PAIRS, StyleTrainer, fit_photo
from dltool.settings import as_plain
from dltool.stylize.colors import color_statistics
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.targets import StyleTargets
from dltool.training import distributed
from dltool.training.context import RunContext
from dltool.training.events import EpochEnd, Notice, StepEnd, Stopped
from dltool.training.loop import TrainingLoop
from dltool.training.model_file import save_model
from dltool.training.muon import Muon
from dltool.training.schedule import cosine
from dltool.training.seeds import epoch_order, seeded
from dltool.training.session import Session
from dltool.training.trainer import Plan


@dataclass(frozen=True)
class Prepared:
    """Paintings, photos and network are ready."""

    data: Loaded
    parameters: int
    settings: InstantSettings

    @property
    def line(self) -> str:
        """Data, network and training in words."""
        train, held_out = len(self.data.splits["train"]), len(self.data.splits["val"])
        count, settings = len(self.settings.paintings), self.settings
        styles = f"{count} style{'s' if count > 1 else ''}"
        if len(settings.scales) > 1:
            styles += f" at {len(settings.scales)} sizes"
        return (
            f"{styles}, {self.parameters:,} parameters; {train} photos and {held_out} to look at; "
            f"{settings.steps} steps of {settings.batch_size} pairs of {settings.crop} px crops"
        )


@dataclass(frozen=True)
class InstantResult:
    """The best state of the network, by the loss on photos that it did not learn from; `models` are its files."""

    style: TrainedStyle
    data: Loaded
    models: tuple[Path, ...]
    epochs: int
    best_epoch: int
    seconds: float

    @property
    def figures(self) -> dict[str, Any]:
        """What was learnt from what, and how well, as the JSON document has it."""
        return {
            "parameters": sum(parameter.numel() for parameter in self.style.network.parameters()),
            "counts": {name: len(split) for name, split in self.data.splits.items()},
            "notes": self.data.notes,
            "models": self.models,
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "training_seconds": round(self.seconds, 3),
            "metrics": self.style.metrics,
        }


def describe_epoch(event: EpochEnd) -> str:
    """A line about an epoch: the loss, and content and style on photos that are not learnt from."""
    return (
        f"epoch {event.epoch}/{event.epochs}: loss {event.train_loss:.4f}, held out content "
        f"{event.measured['content_loss']:.3f} style {event.measured['style_loss']:.3f}{' *' if event.best else ''} "
        f"{event.seconds:.1f} s"
    )


Event = Checked | Prepared | StepEnd | EpochEnd | Notice | Stopped


def train_style(
    data: TrainingPhotos, settings: InstantSettings, context: RunContext
) -> Generator[Event, None, InstantResult | None]:
    """Read paintings and photos, train, write the model: one file of all paintings, and of several one each.

    Returns:
        The result; None if it was stopped, of which Stopped was the last event.

    Raises:
        DataError, ModelError, DeviceError, SettingsError: each with one line that says what to do.
        DltoolError: the loss is not finite.
    """
    images = [_read_painting(path, settings) for path in settings.paintings]
    exclude = context.run and context.run.path
    loaded = yield from load_images(data, context.workers, fit=partial(fit_photo, settings=settings), exclude=exclude)
    if context.run is not None:
        digest = content_hash(b"".join(pixels.tobytes() for pixels in images) + loaded.digest.encode())
        context.open_run("style train", data, digest, as_plain(settings), ("time",))
    session = Session(context.run, context.should_stop, settings.time, context.checkpoint_seconds)
    tensors = [to_tensor(pixels) for pixels in images]
    described = [
        describe_painting(path.stem, pixels, color_statistics(tensor))
        for path, pixels, tensor in zip(settings.paintings, images, tensors, strict=True)
    ]
    arguments = {"styles": len(described) * len(settings.scales)}
    with seeded(settings.seed, "weights"):
        network = StyleNetwork(**arguments)
    network.to(context.device, memory_format=torch.channels_last)
    weights = (1.0,) * len(described)
    trained = TrainedStyle(network, arguments, tuple(described), weights, settings.scales, as_plain(settings))
    bf16 = use_bf16(settings.precision, context.device, cpu_gains=False)
    with FeatureNetwork(create_backbone(DEFAULT_BACKBONE), context.device, bf16=bf16) as judge:
        targets = [StyleTargets(judge, tensor) for tensor in tensors]
        sizes = [round(settings.size * scale) for scale in settings.scales]
        grams = [target.at(size, context.device) for target in targets for size in sizes]
        trainer = StyleTrainer(trained, judge, grams, loaded.splits, settings, context)
        loop = TrainingLoop(_plan(network, settings), trainer, session)
        yield Prepared(loaded, sum(parameter.numel() for parameter in network.parameters()), settings)
        state = context.load_checkpoint()
        if state is not None:
            session.resume(state)
            loop.resume(state)
        if not (yield from loop.run()):
            return None
        trained = replace(trained, metrics=trainer.measure(network).values)
    network.to("cpu").eval()
    models = _write(trained, context)
    return InstantResult(trained, loaded, models, len(session.history), loop.best["epoch"], session.elapsed)


def _read_painting(path: Path, settings: InstantSettings) -> np.ndarray:
    """At the largest size that is learnt, without being enlarged for it."""
    largest = round(settings.size * settings.scales[-1])
    image = read_image(path, largest)
    return resize_image(image, min(largest, max(settings.size, *image.size))).pixels


def _epochs(settings: InstantSettings) -> int:
    return -(-settings.steps * settings.batch_size // EPOCH_PAIRS)


def _plan(network: StyleNetwork, settings: InstantSettings) -> Plan:
    pairs = min(EPOCH_PAIRS, settings.steps * settings.batch_size)
    return Plan(
        module=network,
        parameters=list(network.parameters()),
        optimizer=Muon(network, settings.lr, inner=network.mixing),
        schedule=partial(cosine, warmup=0.02),
        order=lambda epoch: epoch_order(pairs, settings.seed, epoch),
        batch_size=settings.batch_size,
        epochs=_epochs(settings),
        seeds=(settings.seed, "step"),
        blame=f"--lr {settings.lr}",
        advice="try a smaller --crop",
        clip=1.0,
    )


def _write(trained: TrainedStyle, context: RunContext) -> tuple[Path, ...]:
    """The run's model, and one of each painting where there are several."""
    run, count = context.run, len(trained.paintings)
    if run is None or distributed.rank() != 0:
        return ()
    save_model(run.model, trained.to_file(trained.metrics))
    files = [run.path / f"{painting.name}.safetensors" for painting in trained.paintings] if count > 1 else []
    for number, file in enumerate(files):
        save_model(file, trained.only(number).to_file(trained.metrics))
    return (run.model, *files)
