"""One training run from images to a model file, as a generator of what happens."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dltool.autoencoder.anomaly import NormalImages, learn_normal
from dltool.autoencoder.autoencoder_file import TrainedAutoencoder, take_over
from dltool.autoencoder.batches import (
    CropSource,
    ResidentCrops,
    Source,
    WholeSource,
    whole_images,
)
from dltool.autoencoder.codes import CodeMixture, learn_codes
from dltool.autoencoder.data import ImageData, Loaded, load_images
from dltool.autoencoder.health import Health, look_at
from dltool.autoencoder.heldout import HeldOut, crops_of, restore
from dltool.autoencoder.networks import Autoencoder, create_autoencoder
from dltool.autoencoder.noise_laws import parse_noise
from dltool.autoencoder.plan import AePlan, describe_steps, plan_training
from dltool.autoencoder.settings import AeSettings, Arch
from dltool.autoencoder.sheets import write_examples
from dltool.autoencoder.trainer import LOSSES, new_loop, show_examples
from dltool.data.check import Checked
from dltool.device import use_bf16
from dltool.errors import SettingsError
from dltool.plots import plot_restoration
from dltool.settings import as_plain
from dltool.training import distributed
from dltool.training.context import RunContext
from dltool.training.events import EpochEnd, Notice, StepEnd, Stopped
from dltool.training.model_file import save_model
from dltool.training.seeds import seeded
from dltool.training.session import Session

_MAY_CHANGE = ("time",)


@dataclass(frozen=True)
class Prepared:
    """Data and network are ready; `settings` are complete, samples and steps those of an epoch."""

    settings: AeSettings
    data: Loaded
    arguments: dict[str, Any]
    parameters: int
    samples: int
    steps: int

    @property
    def line(self) -> str:
        """The network and its training in words."""
        settings, arguments = self.settings, self.arguments
        size = "crops" if "height" not in arguments else f"{arguments['width']}x{arguments['height']} pixels"
        return (
            f"network: {settings.arch}, {self.parameters:,} parameters, {arguments['in_channels']} channel(s), {size}, "
            f"noise {settings.noise}; batch {settings.batch_size}, "
            f"{describe_steps(settings, self.samples, self.steps)}"
        )


@dataclass(frozen=True)
class AeResult:
    """The model of the best epoch, measured on val and, where there is one, on test; `steps` of an epoch.

    `precision` is bf16 or fp32, what the training computed in.
    """

    autoencoder: TrainedAutoencoder
    settings: AeSettings
    data: Loaded
    metrics: dict[str, Any]
    test_metrics: dict[str, Any] | None
    epochs: int
    best_epoch: int
    parameters: int
    steps: int
    health: Health | None
    history: tuple[dict[str, Any], ...]
    seconds: float
    precision: str

    @property
    def lines(self) -> list[str]:
        """A line for each split and strength of the noise: how well the images came back."""
        lines = []
        for kind, metrics in (("val", self.metrics), ("test", self.test_metrics)):
            for name, row in () if metrics is None else metrics["levels"].items():
                before = f" (noisy {row['noisy_psnr']:.2f} dB)" if "noisy_psnr" in row else ""
                lines.append(
                    f"{kind}, {name}: mse {row['mse']:.5f}, PSNR {row['psnr']:.2f} dB{before}, "
                    f"SSIM {row['ssim']:.4f}, {metrics['pictures']} pictures"
                )
        return lines

    @property
    def figures(self) -> dict[str, Any]:
        """What was made of what, and how well, as the JSON document has it."""
        return {
            "arguments": self.autoencoder.arguments,
            "parameters": self.parameters,
            "counts": {name: len(split) for name, split in self.data.splits.items()},
            "notes": self.data.notes,
            "epochs": self.epochs,
            "steps": self.epochs * self.steps,
            "passes": self.epochs * (self.settings.passes or 1),
            "best_epoch": self.best_epoch,
            "training_seconds": round(self.seconds, 3),
            "metrics": self.metrics,
            "test_metrics": self.test_metrics,
            "health": None if self.health is None else as_plain(self.health),
        }


def describe_epoch(event: EpochEnd) -> str:
    """A line about an epoch: its loss, and how well the held-out images came back."""
    figures = [
        f"{name} {row['psnr']:.2f} dB" if name != "clean" else f"mse {row['mse']:.5f}, {row['psnr']:.2f} dB"
        for name, row in event.measured["levels"].items()
    ]
    return (
        f"epoch {event.epoch}/{event.epochs}: loss {event.train_loss:.5f}, "
        f"held out {event.measured['loss']:.5f} ({', '.join(figures)}){' *' if event.best else ''} "
        f"{event.seconds:.1f} s"
    )


Event = Checked | Loaded | Prepared | StepEnd | EpochEnd | Notice | Stopped


def train_autoencoder(
    data: ImageData, settings: AeSettings, context: RunContext
) -> Generator[Event, None, AeResult | None]:
    """Read the images, train, measure.

    Returns:
        The result; None if it was stopped, of which Stopped was the last event.

    Raises:
        DataError, ModelError, DeviceError, SettingsError: each with one line that says what to do.
        DltoolError: the loss is not finite.
    """
    noise = parse_noise(settings.noise)
    exclude = context.run and context.run.path
    loaded = yield from load_images(data, context.workers, settings=settings, exclude=exclude)
    yield loaded
    plan = plan_training(settings, loaded)
    settings = plan.settings
    if context.run is not None:
        context.open_run("ae train", data, loaded.digest, as_plain(settings), _MAY_CHANGE)
    session = Session(context.run, context.should_stop, settings.time, context.checkpoint_seconds)
    task = _Task(plan, loaded, context)
    held_out = HeldOut(task.held_out("val"), noise, settings.seed)
    counts = {name: len(split) for name, split in loaded.splits.items()}
    origin = as_plain(settings) | {"data": {"source": str(data.source), **counts}}
    trained = TrainedAutoencoder(task.model, settings.arch.value, task.arguments, origin)
    parameters = sum(parameter.numel() for parameter in task.model.parameters())
    yield Prepared(settings, loaded, task.arguments, parameters, plan.samples, plan.steps)
    loop = new_loop(trained, task.source, held_out, settings, session, context)
    state = context.load_checkpoint()
    if state is not None and state["model"].keys() != task.model.state_dict().keys():
        raise SettingsError("--resume: the run is of an older dltool, whose network was another; start a new run")
    if state is not None:
        session.resume(state)
        loop.resume(state)
    if not (yield from loop.run()):
        return None
    trained = replace(trained, normal=task.learn_normal(held_out), codes=task.learn_codes())
    loss = LOSSES[settings.loss]  # type: ignore[index]
    metrics = {"val": held_out.measure(task.model, context.device, loss)}
    if "test" in loaded.splits:
        test = HeldOut(task.held_out("test"), noise, settings.seed)
        metrics["test"] = test.measure(task.model, context.device, loss)
    if context.run is not None and distributed.rank() == 0:
        save_model(context.run.model, trained.to_file(metrics))
        write_examples(context.run.path / "samples", show_examples(held_out, task.model, context.device)[1])
        plot_restoration(context.run.path / "curves.png", session.history, settings.loss.value)  # type: ignore[union-attr]
    return AeResult(
        autoencoder=replace(trained, metrics=metrics),
        settings=settings,
        data=loaded,
        metrics=metrics["val"],
        test_metrics=metrics.get("test"),
        epochs=len(session.history),
        best_epoch=loop.best["epoch"],
        parameters=parameters,
        steps=plan.steps,
        health=look_at(task.model, held_out, metrics["val"]["mse"], context.device),
        history=tuple(session.history),
        seconds=session.elapsed,
        precision="bf16" if use_bf16(task.settings.precision, context.device) else "fp32",
    )


class _Task:
    """What the data and the settings together make: the network, its training samples, what it is measured on."""

    def __init__(self, plan: AePlan, data: Loaded, context: RunContext) -> None:
        self.data = data
        self.plan = plan
        self.settings = plan.settings
        self.source = self._source(context)
        self.arguments = self._arguments()
        settings = self.settings
        with seeded(settings.seed, "weights"):
            self.model = create_autoencoder(settings.arch.value, **self.arguments)
        if isinstance(self.model, Autoencoder) and isinstance(self.source, WholeSource):
            self.model.set_output_mean(_channel_means(self.source.images))
        if settings.start is not None:
            take_over(self.model, settings.start)
        # Convolutions are a quarter faster so, on the CPU as well.
        self.model.to(context.device, memory_format=torch.channels_last)

    def _source(self, context: RunContext) -> Source:
        settings, train = self.settings, self.data.splits["train"]
        if self.plan.whole:
            images = whole_images(train, self.plan.channels, self.plan.size).to(context.device)
            return WholeSource(images, settings.augment, settings.seed, settings.passes or 1)
        crops = settings.crops_per_image * (settings.passes or 1)
        what = (train, self.plan.channels, settings.patch_size, crops, settings.augment, settings.seed)
        if context.device.type == "cpu" or not train.in_memory:
            return CropSource(*what, context.workers)
        return ResidentCrops(*what, context.device)

    def _arguments(self) -> dict[str, Any]:
        settings = self.settings
        if settings.arch is Arch.UNET:
            assert settings.channels is not None and settings.blocks is not None
            blocks = settings.blocks[0] if len(settings.blocks) == 1 else list(settings.blocks)
            return {"in_channels": self.plan.channels, "channels": list(settings.channels), "blocks": blocks}
        height, width = self.plan.size
        sizes = {"in_channels": self.plan.channels, "height": height, "width": width}
        norm = {"norm": True} if settings.arch is Arch.CONV else {}
        varied = {"variational": True} if settings.variational else {}
        return {**sizes, "latent_dim": settings.latent_dim, **norm, **varied}

    def learn_normal(self, held_out: HeldOut) -> NormalImages | None:
        """What tells other images from these; None for networks without a code, and of too few images."""
        if not isinstance(self.model, Autoencoder) or not isinstance(self.source, WholeSource):
            return None
        images = torch.cat(held_out.batches()).float() / 255
        restored = restore(self.model, images, next(self.model.parameters()).device)
        return learn_normal(self.source.images.cpu(), images, restored)

    def learn_codes(self) -> CodeMixture | None:
        """Where the codes of a variational network lie."""
        if not self.settings.variational:
            return None
        assert isinstance(self.model, Autoencoder) and isinstance(self.source, WholeSource)
        images = torch.cat(self.held_out("val"))
        return learn_codes(self.model, self.source.images.cpu(), images, self.settings.seed)

    def held_out(self, split: str) -> tuple[Tensor, ...]:
        """The images of `val` or `test` that are measured."""
        images = self.data.splits[split]
        if self.plan.whole:
            return (whole_images(images, self.plan.channels, self.plan.size),)
        return crops_of(images, self.plan.channels)


def _channel_means(images: Tensor) -> list[float]:
    """Mean of each channel of N × C × H × W uint8 images, in [0, 1]."""
    return (images.transpose(0, 1).flatten(1).float().mean(1) / 255).tolist()
