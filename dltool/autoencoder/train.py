"""One training run from images to a model file, as a generator of what happens."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dltool.autoencoder.autoencoder_file import TrainedAutoencoder, take_over
from dltool.autoencoder.batches import (
    CropSource,
    ResidentCrops,
    Source,
    WholeSource,
    common_size,
    whole_images,
)
from dltool.autoencoder.data import ImageData, Loaded, load_images
from dltool.autoencoder.heldout import HeldOut, crops_of
from dltool.autoencoder.networks import Autoencoder, create_autoencoder
from dltool.autoencoder.noise_laws import parse_noise
from dltool.autoencoder.settings import AeSettings, Arch, Augment, Color, complete
from dltool.autoencoder.sheets import write_examples
from dltool.autoencoder.trainer import LOSSES, new_loop, show_examples
from dltool.data.check import Checked
from dltool.errors import SettingsError
from dltool.images.tensors import fit_pixels
from dltool.plots import plot_restoration
from dltool.settings import as_plain
from dltool.training import distributed
from dltool.training.context import RunContext
from dltool.training.events import EpochEnd, Notice, StepEnd, Stopped
from dltool.training.model_file import save_model
from dltool.training.seeds import seeded
from dltool.training.session import Session

# Whole images that are this small are taken as they are; larger or differing ones are scaled to squares.
_SMALL_SIDE = 128
_DEFAULT_SIZE = 64
_MAY_CHANGE = ("time",)


@dataclass(frozen=True)
class Prepared:
    """Data and network are ready; `settings` are complete."""

    settings: AeSettings
    data: Loaded
    arguments: dict[str, Any]
    parameters: int
    samples: int

    @property
    def line(self) -> str:
        """The network and its training in words."""
        settings, arguments = self.settings, self.arguments
        size = "crops" if "height" not in arguments else f"{arguments['height']}x{arguments['width']}"
        return (
            f"network: {settings.arch}, {self.parameters:,} parameters, {arguments['in_channels']} channel(s), {size}, "
            f"noise {settings.noise}; {self.samples} samples per epoch, batch {settings.batch_size}, "
            f"{settings.epochs} epochs"
        )


@dataclass(frozen=True)
class AeResult:
    """The model of the best epoch, measured on val and, where there is one, on test."""

    autoencoder: TrainedAutoencoder
    settings: AeSettings
    data: Loaded
    metrics: dict[str, Any]
    test_metrics: dict[str, Any] | None
    epochs: int
    best_epoch: int
    parameters: int
    history: tuple[dict[str, Any], ...]
    seconds: float

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
    settings = complete(settings)
    exclude = context.run and context.run.path
    loaded = yield from load_images(data, context.workers, fit=_kept_pixels(settings), exclude=exclude)
    yield loaded
    if context.run is not None:
        context.open_run("ae train", data, loaded.digest, as_plain(settings), _MAY_CHANGE)
    session = Session(context.run, context.should_stop, settings.time, context.checkpoint_seconds)
    task = _Task(settings, loaded, context)
    held_out = HeldOut(task.held_out("val"), noise, settings.seed)
    counts = {name: len(split) for name, split in loaded.splits.items()}
    origin = as_plain(task.settings) | {"data": {"source": str(data.source), **counts}}
    trained = TrainedAutoencoder(task.model, settings.arch.value, task.arguments, origin)
    parameters = sum(parameter.numel() for parameter in task.model.parameters())
    yield Prepared(task.settings, loaded, task.arguments, parameters, len(task.source))
    loop = new_loop(trained, task.source, held_out, settings, session, context)
    state = context.run.load_checkpoint() if context.run is not None and context.resume else None
    if state is not None:
        session.resume(state)
        loop.resume(state)
    if not (yield from loop.run()):
        return None
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
        settings=task.settings,
        data=loaded,
        metrics=metrics["val"],
        test_metrics=metrics.get("test"),
        epochs=len(session.history),
        best_epoch=loop.best["epoch"],
        parameters=parameters,
        history=tuple(session.history),
        seconds=session.elapsed,
    )


def _kept_pixels(settings: AeSettings) -> Callable[[np.ndarray], np.ndarray] | None:
    """What is needed of an image's pixels, as far as that can be told before all are known; None: all of them."""
    if settings.arch is Arch.UNET:
        return None
    side = settings.size or _DEFAULT_SIZE

    def fit(pixels: np.ndarray) -> np.ndarray:
        as_it_is = settings.size is None and max(pixels.shape[:2]) <= _SMALL_SIDE
        return pixels if as_it_is else fit_pixels(pixels, (side, side))

    return fit


def learns_crops(settings: AeSettings, data: Loaded) -> bool:
    """Whether random crops are learnt, as a unet does but where all images are small and of one size."""
    common = common_size(list(data.splits.values()))
    return settings.arch is Arch.UNET and (common is None or max(common) > settings.patch_size)


class _Task:
    """What the data and the settings together make: the network, its training samples, what it is measured on."""

    def __init__(self, settings: AeSettings, data: Loaded, context: RunContext) -> None:
        self.data = data
        splits = list(data.splits.values())
        grey = all(all(split.grey) for split in splits)
        self.channels = 1 if settings.color is Color.GREY or (settings.color is Color.AUTO and grey) else 3
        self.whole = not learns_crops(settings, data)
        common = common_size(splits)
        small = common is not None and (settings.arch is Arch.UNET or max(common) <= _SMALL_SIDE)
        side = settings.size
        self.size = (side, side) if side else common if small and common else (_DEFAULT_SIZE, _DEFAULT_SIZE)
        if settings.augment is Augment.AUTO:
            settings = replace(settings, augment=Augment.NONE if self.whole else Augment.DIHEDRAL)
        self.settings = settings
        if settings.augment is Augment.DIHEDRAL and self.size[0] != self.size[1] and self.whole:
            raise SettingsError("--augment dihedral: quarter turns need square pictures; give --size, or flip")
        self.source = self._source(context)
        self.arguments = self._arguments()
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
        if self.whole:
            images = whole_images(train, self.channels, self.size).to(context.device)
            return WholeSource(images, settings.augment, settings.seed)
        what = (train, self.channels, settings.patch_size, settings.crops_per_image, settings.augment, settings.seed)
        if context.device.type == "cpu" or not train.in_memory:
            return CropSource(*what, context.workers)
        return ResidentCrops(*what, context.device)

    def _arguments(self) -> dict[str, Any]:
        settings = self.settings
        if settings.arch is Arch.UNET:
            assert settings.channels is not None and settings.blocks is not None
            blocks = settings.blocks[0] if len(settings.blocks) == 1 else list(settings.blocks)
            return {"in_channels": self.channels, "channels": list(settings.channels), "blocks": blocks}
        height, width = self.size
        return {"in_channels": self.channels, "height": height, "width": width, "latent_dim": settings.latent_dim}

    def held_out(self, split: str) -> tuple[Tensor, ...]:
        """The images of `val` or `test` that are measured."""
        images = self.data.splits[split]
        if self.whole:
            return (whole_images(images, self.channels, self.size),)
        return crops_of(images, self.channels)


def _channel_means(images: Tensor) -> list[float]:
    """Mean of each channel of N × C × H × W uint8 images, in [0, 1]."""
    return (images.transpose(0, 1).flatten(1).float().mean(1) / 255).tolist()
