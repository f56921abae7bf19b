"""A GAN's training loop: epochs of steps, and after each a grid, sometimes a quality figure, always a checkpoint.

It is not `dltool.training.loop`, with which it shares the session, the rules of precision and of memory, and what
processes tell each other. A GAN would need of it, beyond a trainer's six hooks: a step of its own (two networks and
optimizers in turn, the generated images shared between them), several sums a step, an average whose decay depends on
the images seen, state of its own (optimizers, health), figures that are due now and then, and an end of an epoch that
is told otherwise.
"""

import copy
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dltool.device import expect_equal_shapes, use_bf16
from dltool.gan.augment import differentiable_augment
from dltool.gan.data import GanData
from dltool.gan.generator_file import TrainedGenerator
from dltool.gan.health import Health
from dltool.gan.images import fill_rows, grid_page, write_film
from dltool.gan.nearest import find_nearest, nearest_sheet
from dltool.gan.quality import Quality, QualityMeter
from dltool.gan.sample import generate, latent
from dltool.gan.settings import FEWEST_REAL, FIGURES, Arch, Augment, GanSettings
from dltool.gan.step import PENALTY_EVERY, GanStep
from dltool.images.write import write_image
from dltool.plots import plot_gan
from dltool.settings import as_plain
from dltool.training import distributed
from dltool.training.ema import Ema, half_life_decay
from dltool.training.events import Notice, Stopped
from dltool.training.model_file import save_model
from dltool.training.schedule import cosine
from dltool.training.seeds import derive_seed, epoch_order, seed_step
from dltool.training.session import Session, check_finite

_MEASURED = 1000
# Of the device's free memory, for the images; the rest is for the networks.
_SHARE_OF_MEMORY = 0.5
# On a GPU the host looks at the losses only now and then: each look waits for all steps before it.
_LOOK_EVERY = 25
_WARMUP_STEPS = 100
# How many samples are looked for among the training images at the end, and how many rows of them a sheet shows.
_NEAREST_SAMPLES, _NEAREST_ROWS = 256, 2


@dataclass(frozen=True)
class GanStepEnd:
    """Step `step` of `steps` in an epoch is done; losses are the epoch's means so far, `progress` the run's share."""

    epoch: int
    epochs: int
    step: int
    steps: int
    g_loss: float
    d_loss: float
    progress: float


@dataclass(frozen=True)
class GanEpochEnd:
    """An epoch is done.

    Attributes:
        d_real, d_fake: shares of real and generated images that the discriminator told right.
        figure, diversity: see `dltool.gan.quality.Quality`; None where nothing was measured.
        figure_name: `frechet`, `kid`, or empty.
        best: whether this is the best snapshot by the figure so far.
    """

    epoch: int
    epochs: int
    g_loss: float
    d_loss: float
    d_real: float
    d_fake: float
    figure: float | None
    diversity: float | None
    figure_name: str
    best: bool
    seconds: float

    def describe(self, timed: bool) -> str:
        """The epoch in a line; of a run that is `timed` nobody knows how many there will be."""
        figure = "" if self.figure is None else f", {self.figure_name} {self.figure:.4g}{' *' if self.best else ''}"
        return (
            f"epoch {self.epoch}{'' if timed else f'/{self.epochs}'}: g_loss {self.g_loss:.3f}, "
            f"d_loss {self.d_loss:.3f}, tells {100 * self.d_real:.0f} % of real, "
            f"{100 * self.d_fake:.0f} % of generated{figure}"
        )


class GanLoop:
    """One run's networks, data and average; its state can be saved after any step and taken up again."""

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        data: GanData,
        settings: GanSettings,
        session: Session,
        device: torch.device,
    ) -> None:
        """Prepare everything but the quality meter; `settings` must be complete."""
        self.session = session
        self.augmented = settings.augment is Augment.ON
        self.bf16 = use_bf16(settings.precision, device, cpu_gains=True)
        self.figure_name = ""
        self.best_epoch = 0
        self._data = data
        self._settings = settings
        self._device = device
        expect_equal_shapes(self._device)
        self._images = _place(data.images, device)
        self._labels = data.labels.to(self._images.device)
        self._step = GanStep(
            *(generator, discriminator, settings, device, self.bf16),
            augment=differentiable_augment if self.augmented else lambda images: images,
        )
        self._average = Ema(generator)
        self._meter: QualityMeter | None = None
        self._health = Health()
        self._epoch = 0
        self._done = 0
        self.images_seen = 0
        self._measured_at = 0.0
        self._sums = torch.zeros(5, device=device)
        self._best: dict[str, Any] = {"epoch": 0, "figure": None}
        self._best_tensors: dict[str, Tensor] = {}

    @property
    def _first(self) -> bool:
        return distributed.rank() == 0

    def resume(self, state: Mapping[str, Any]) -> None:
        """Take over the state that `state()` returned in an earlier process."""
        self.session.resume(state)
        self._step.load(state["step"])
        self._average.module.load_state_dict(state["average"])
        self._epoch, self._done, self.images_seen = state["epoch"], state["done"], state["seen"]
        self._sums = state["sums"].to(self._device)
        self._health = Health(**state["health"])
        self._best, self._best_tensors = dict(state["best"]), dict(state["best_tensors"])

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on: tensors, numbers and texts."""
        return {
            "step": self._step.state(),
            "average": self._average.module.state_dict(),
            "epoch": self._epoch,
            "done": self._done,
            "seen": self.images_seen,
            "sums": self._sums,
            "health": asdict(self._health),
            "best": self._best,
            "best_tensors": self._best_tensors,
        }

    def run(self) -> Generator[GanStepEnd | GanEpochEnd | Notice | Stopped, None, bool]:
        """Train, and return True; False if it was stopped, which the last event tells too.

        Raises:
            DltoolError: a loss is not finite.
            DeviceError: not even one image fits into memory.
        """
        if self._first and len(self._data) >= FEWEST_REAL:
            self._meter = QualityMeter(self._data.images, self._device, self._settings.seed)
            self.figure_name = self._meter.name
        self.session.set_clocks()
        self._step.share()
        while self._epoch < self._settings.epochs and not (self._epoch and self.session.time_is_up):
            started = time.monotonic()
            if not (yield from self._run_epoch()):
                yield Stopped()
                return False
            self._epoch += 1
            yield from self._end_epoch(started)
            self.session.look()
            if self.session.stop_requested and self._epoch < self._settings.epochs:
                yield Stopped()
                return False
        return True

    def _run_epoch(self) -> Generator[GanStepEnd | Notice, None, bool]:
        """The rest of an epoch; False if it was stopped."""
        slices = self._slices()
        order = torch.from_numpy(np.concatenate(slices)).to(self._images.device)
        chosen = order.split([len(part) for part in slices])
        look_every = 1 if self._device.type == "cpu" else _LOOK_EVERY
        for index in range(self._done, len(slices)):
            parts = self._step.parts
            self._sums += self._train_step(chosen[index], len(slices))
            self._done += 1
            if self._step.parts != parts:
                yield Notice(f"out of memory: every batch now goes in {self._step.parts} parts")
            if self._done % look_every and self._done < len(slices):
                continue
            means = self._means()
            place = f"step {self._done} of epoch {self._epoch + 1}"
            check_finite(means["d_loss"] + means["g_loss"], place, f"--lr {self._settings.lr}")
            done = self.session.progress((self._epoch + self._done / len(slices)) / self._settings.epochs)
            losses = means["g_loss"], means["d_loss"], done
            yield GanStepEnd(self._epoch + 1, self._settings.epochs, self._done, len(slices), *losses)
            self.session.look()
            if self.session.stop_requested:
                self.session.save(self.state())
                return False
            if self._done < len(slices) and self.session.checkpoint_due:
                self.session.save(self.state())
            if self.session.time_is_up:
                break
        return True

    def _train_step(self, chosen: Tensor, steps: int) -> Tensor:
        settings, world, rank = self._settings, distributed.world_size(), distributed.rank()
        total = settings.epochs * steps
        number = self._epoch * steps + self._done
        self._step.set_rate(min(1.0, (number + 1) / _WARMUP_STEPS) * self._rate(number / total))
        # Noise is drawn for the whole batch, so that any number of processes draws the same.
        noise = self._noise("noise", self._epoch, self._done, count=len(chosen))
        own = chosen[rank::world]
        images = self._images[own].to(self._device, non_blocking=True)
        labels = self._labels[own].to(self._device) if settings.conditional else None
        seed_step(settings.seed, "step", self._epoch, self._done, rank)
        sums = self._step(images, noise[rank::world], labels, penalty=number % PENALTY_EVERY == 0, count=len(chosen))
        self.images_seen += len(chosen)
        self._average.follow(self._step.generator, half_life_decay(len(chosen), settings.ema, self.images_seen))
        return sums

    def _rate(self, done: float) -> float:
        """Factor on the learning rate: half a cosine from 1 down to `final_lr`."""
        least = self._settings.final_lr
        return least + (1 - least) * cosine(self.session.progress(done), warmup=0.0)

    def _noise(self, *parts: int | str, count: int) -> Tensor:
        generator = torch.Generator(self._device).manual_seed(derive_seed(self._settings.seed, *parts))
        return torch.randn(count, self._settings.latent_dim, generator=generator, device=self._device)

    def _slices(self) -> list[np.ndarray]:
        """The epoch's batches, of nearly equal sizes; a small set is gone through several times in an epoch."""
        settings, count = self._settings, len(self._data)
        passes = [
            epoch_order(count, settings.seed, self._epoch * settings.passes + number)
            for number in range(settings.passes)
        ]
        order = np.concatenate(passes)
        return np.array_split(order, -(-len(order) // min(settings.batch_size, len(order))))

    def _means(self) -> dict[str, float]:
        sums = self._sums.tolist()
        names = ("d_loss", "g_loss", "d_real", "d_fake")
        return {name: value / sums[-1] for name, value in zip(names, sums, strict=False)}

    def _end_epoch(self, started: float) -> Iterator[GanEpochEnd | Notice]:
        settings = self._settings
        means = self._means()
        quality = self._measure() if self._figure_due() else None
        best = self._keep_best(quality)
        if self._first and self.session.run is not None:
            names = self._data.class_names if settings.conditional else ()
            images = self._draw("grid", fill_rows(settings.grid, len(names)))
            labels = torch.arange(len(images)) % len(names) if names else None
            page = grid_page(images, labels=labels, names=names)
            write_image(self.session.run.path / "samples" / f"epoch-{self._epoch:03d}.png", page)
        end = GanEpochEnd(
            epoch=self._epoch,
            epochs=settings.epochs,
            **means,
            figure=quality.figure if quality else None,
            diversity=quality.diversity if quality else None,
            figure_name=self.figure_name,
            best=best,
            seconds=time.monotonic() - started,
        )
        row = {name: value for name, value in asdict(end).items() if name not in ("epochs", "figure_name")}
        self.session.history.append({**row, "seconds": round(end.seconds, 3)})
        self._done = 0
        self._sums.zero_()
        done = self.session.progress(self._epoch / settings.epochs)
        said = self._health.look(end.d_real, end.d_fake, end.diversity, done, settings.arch is Arch.MODERN)
        self.session.save(self.state())
        if best and self._first and self.session.run is not None:
            save_model(self.session.run.model, self.best().to_file())
        yield end
        yield from map(Notice, said)

    def _figure_due(self) -> bool:
        settings = self._settings
        if self._epoch == settings.epochs or self.session.time_is_up:
            return True
        if settings.figure_every:
            return self._epoch % settings.figure_every == 0
        assert settings.time is not None
        return self.session.elapsed - self._measured_at >= settings.time / FIGURES

    def _measure(self) -> Quality | None:
        if self._meter is None:
            return None
        quality = self._meter(self._draw("figure", _MEASURED))
        self._measured_at = self.session.elapsed
        return quality

    def _draw(self, purpose: str, count: int, module: nn.Module | None = None) -> Tensor:
        """Images of a generator, the average if none is given, from the same noise and classes in turn every time."""
        noise = latent(
            [derive_seed(self._settings.seed, purpose, index) for index in range(count)], self._settings.latent_dim
        )
        labels = torch.arange(count) % len(self._data.class_names) if self._settings.conditional else None
        return generate(self._average.module if module is None else module, noise, labels)

    def _keep_best(self, quality: Quality | None) -> bool:
        """Keep the average if its figure is the best; without a meter, the latest is."""
        if self._meter is not None and quality is None:
            return False
        before = self._best["figure"]
        if quality is not None and before is not None and not quality.figure < before:
            return False
        self._best = {"epoch": self._epoch, "figure": quality.figure if quality else None}
        if quality is not None:
            self._best["diversity"] = quality.diversity
        self._best_tensors = {
            name: tensor.detach().cpu().clone() for name, tensor in self._average.module.state_dict().items()
        }
        return True

    def best(self) -> TrainedGenerator:
        """The best snapshot so far."""
        module = copy.deepcopy(self._average.module)
        if self._best_tensors:
            module.load_state_dict({name: tensor.to(self._device) for name, tensor in self._best_tensors.items()})
        names = self._data.class_names if self._settings.conditional else ()
        metrics = {"epoch": self._best["epoch"]}
        if self._meter is not None:
            metrics |= {self.figure_name: self._best["figure"], "diversity": self._best.get("diversity")}
        self.best_epoch = self._best["epoch"]
        return TrainedGenerator(module, names, metrics, as_plain(self._settings))

    def finish(self) -> None:
        """Write the film of the grids, the charts, the best snapshot and what is nearest to its samples."""
        assert self.session.run is not None
        folder = self.session.run.path
        grids = [folder / "samples" / f"epoch-{row['epoch']:03d}.png" for row in self.session.history]
        write_film(folder / "training.gif", [grid for grid in grids if grid.is_file()])
        plot_gan(folder / "losses.png", self.session.history, self.figure_name)
        best = self.best()
        save_model(self.session.run.model, best.to_file())
        nearest = find_nearest(self._draw("nearest", _NEAREST_SAMPLES, best.module), self._data.images)
        write_image(folder / "nearest.png", nearest_sheet(nearest, _NEAREST_ROWS))


def _place(images: Tensor, device: torch.device) -> Tensor:
    """The images on the device if they fit beside the networks, else where they are."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if images.numel() > _SHARE_OF_MEMORY * free:
            return images.pin_memory()
    return images.to(device)
