"""The training loop of an autoencoder: epochs over a source of clean images, measured, checkpointed and resumed."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dltool.autoencoder.batches import Source
from dltool.autoencoder.heldout import HeldOut
from dltool.autoencoder.noise import Mixture, Noise
from dltool.autoencoder.settings import AeSettings, Loss, Optimizer
from dltool.training import distributed
from dltool.training.ema import Ema
from dltool.training.events import Notice, Stopped
from dltool.training.memory import halve_until_it_fits
from dltool.training.muon import Muon
from dltool.training.schedule import one_cycle
from dltool.training.seeds import derive_seed, epoch_order
from dltool.training.session import Session, check_finite

LOSSES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    Loss.MSE: F.mse_loss,
    Loss.L1: F.l1_loss,
    Loss.BCE: F.binary_cross_entropy,
}
# Reading the loss waits for a GPU; so there it is read, and looked at, only every so many steps.
_GPU_LOOK = 16


@dataclass(frozen=True)
class StepEnd:
    """Step `step` of `steps` in an epoch is done; `loss` is the epoch's mean so far."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class EpochEnd:
    """An epoch is done and measured on held-out images (`HeldOut.measure`); epoch 0 is the untrained network."""

    epoch: int
    epochs: int
    train_loss: float
    held_out: dict[str, Any]
    best: bool
    seconds: float


class Trainer:
    """Trains one network in place; its state can be saved after any step and taken up again."""

    def __init__(
        self,
        model: nn.Module,
        source: Source,
        held_out: HeldOut,
        noise: Noise | Mixture | None,
        settings: AeSettings,
        session: Session,
        device: torch.device,
        bf16: bool,
    ) -> None:
        assert settings.lr is not None and settings.batch_size is not None and settings.epochs is not None
        assert settings.loss is not None
        self.model = model
        self._source = source
        self._held_out = held_out
        self._noise = noise
        self._settings = settings
        self._session = session
        self._device = device
        self._bf16 = bf16
        self._loss = LOSSES[settings.loss]
        self._epochs = settings.epochs
        self._optimizer = _create_optimizer(model, settings, device)
        self._ema = Ema(model, 0.5 ** (settings.batch_size / settings.ema)) if settings.ema else None
        together = distributed.world_size() > 1
        self._parallel = nn.parallel.DistributedDataParallel(model) if together else model
        self._parts = 1
        self._epoch = 0
        self._step = 0
        self._loss_sum = 0.0
        self._best: dict[str, Any] = {"epoch": -1}
        self._best_tensors: dict[str, Tensor] = {}

    @property
    def averaged(self) -> nn.Module:
        """What is measured and kept: the average of the weights, or the network itself."""
        return self._ema.module if self._ema else self.model

    @property
    def best(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Epoch and measurements of the best epoch, and its tensors on the CPU."""
        return self._best, self._best_tensors

    def resume(self, state: Mapping[str, Any]) -> None:
        """Take over the state that `state()` returned in an earlier process."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._ema is not None:
            self._ema.module.load_state_dict(state["ema"])
            self._ema.steps = state["ema_steps"]
        self._epoch, self._step, self._loss_sum = state["epoch"], state["step"], state["loss_sum"]
        self._parts, self._best, self._best_tensors = state["parts"], state["best"], state["best_tensors"]

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on: tensors, numbers and texts."""
        return {
            "epoch": self._epoch,
            "step": self._step,
            "loss_sum": float(self._loss_sum),
            "parts": self._parts,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "ema": self._ema.module.state_dict() if self._ema else None,
            "ema_steps": self._ema.steps if self._ema else 0,
            "best": self._best,
            "best_tensors": self._best_tensors,
        }

    def run(self) -> Iterator[StepEnd | EpochEnd | Notice | Stopped]:
        """Train to the end of the epochs or of the time. After Stopped nothing more comes.

        Raises:
            DltoolError: the loss is not finite.
            DeviceError: not even one sample fits into memory.
        """
        session = self._session
        if self._best["epoch"] < 0:
            yield self._measure(0.0, time.monotonic())
        while self._epoch < self._epochs and not (self._epoch > 0 and self._time_is_up()):
            started = time.monotonic()
            for event in self._run_epoch():
                yield event
                if isinstance(event, Stopped):
                    return
            self._epoch += 1
            end = self._measure(float(self._loss_sum) / self._step, started)
            self._step, self._loss_sum = 0, 0.0
            session.save(self.state())
            yield end
            if distributed.any_rank(session.should_stop(), self._device) and self._epoch < self._epochs:
                yield Stopped()
                return

    def _time_is_up(self) -> bool:
        return distributed.any_rank(self._session.time_is_up, self._device)

    def _run_epoch(self) -> Iterator[StepEnd | Notice | Stopped]:
        session = self._session
        slices = self._slices(self._epoch)
        self._parallel.train()
        every = _GPU_LOOK if self._device.type == "cuda" else 1
        for clean in self._source.batches(slices[self._step :], self._epoch):
            before = self._parts
            self._loss_sum += self._train_step(clean, len(slices))
            self._step += 1
            if self._parts != before:
                yield Notice(f"out of memory: every batch of {len(clean)} now goes in {self._parts} parts")
            if self._step % every and self._step < len(slices):
                continue
            mean = float(self._loss_sum) / self._step
            place = f"step {self._step} of epoch {self._epoch + 1}"
            check_finite(mean, place, f"--lr {self._settings.lr} --clip {self._settings.clip}")
            yield StepEnd(self._epoch + 1, self._epochs, self._step, len(slices), mean)
            if distributed.any_rank(session.should_stop(), self._device):
                session.save(self.state())
                yield Stopped()
                return
            if self._step < len(slices) and session.checkpoint_due:
                session.save(self.state())
            if self._time_is_up():
                return

    def _slices(self, epoch: int) -> Sequence[np.ndarray]:
        """The epoch's batches, of nearly equal sizes; they don't depend on the number of processes."""
        size = self._settings.batch_size
        assert size is not None
        order = epoch_order(len(self._source), self._settings.seed, epoch)
        return np.array_split(order, -(-len(order) // size))

    def _train_step(self, batch: Tensor, steps: int) -> Tensor | float:
        """Move the weights by one batch, uint8; return its mean loss."""
        lr = self._settings.lr
        assert lr is not None
        done = self._session.progress((self._epoch + self._step / steps) / self._epochs)
        for group in self._optimizer.param_groups:
            group["lr"] = lr * one_cycle(done)
        clean = batch.to(self._device).float().div_(255).contiguous(memory_format=torch.channels_last)
        noisy = clean
        if self._noise is not None:
            seed = derive_seed(self._settings.seed, "noise", self._epoch, self._step)
            noisy = self._noise(clean, torch.Generator(self._device).manual_seed(seed))
            noisy = noisy.contiguous(memory_format=torch.channels_last)

        def attempt(parts: int) -> Tensor:
            self._optimizer.zero_grad()
            return self._backward(clean, noisy, parts)

        advice = "try a smaller --patch-size, --size or network"
        loss, self._parts = halve_until_it_fits(attempt, self._parts, len(clean), advice)
        if self._settings.clip:
            nn.utils.clip_grad_norm_(self.model.parameters(), self._settings.clip)
        self._optimizer.step()
        if self._ema is not None:
            self._ema.update(self.model)
        return loss if self._device.type == "cuda" else float(loss)

    def _backward(self, clean: Tensor, noisy: Tensor, parts: int) -> Tensor:
        """Accumulate the gradient of the batch's mean loss over this process's rows, and return that loss over all."""
        rank, world = distributed.rank(), distributed.world_size()
        own_clean, own_noisy = clean[rank::world], noisy[rank::world]
        share = world / len(clean)
        if not len(own_clean):  # fewer samples than processes: take part with weight 0
            own_clean, own_noisy, share = clean[:1], noisy[:1], 0.0
        total = torch.zeros((), device=self._device)
        parts = min(parts, len(own_clean))
        chunks = list(zip(own_noisy.tensor_split(parts), own_clean.tensor_split(parts), strict=True))
        for number, (inputs, targets) in enumerate(chunks):
            with self._no_sync(number == len(chunks) - 1):
                with self._autocast():
                    outputs = self._parallel(inputs)
                loss = self._loss(outputs.float(), targets) * (len(inputs) * share)
                loss.backward()
            total += loss.detach()
        return distributed.sum_over_ranks(total) / world

    def _no_sync(self, last: bool) -> AbstractContextManager[object]:
        return nullcontext() if last or self._parallel is self.model else self._parallel.no_sync()

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self._device.type, torch.bfloat16) if self._bf16 else nullcontext()

    def _measure(self, train_loss: float, started: float) -> EpochEnd:
        measured = self._held_out.measure(self.averaged, self._device, self._loss)
        check_finite(measured["loss"], f"the end of epoch {self._epoch}", f"--lr {self._settings.lr}")
        # What training starts from has learnt nothing, and is the best at nothing.
        better = self._epoch > 0 and measured["loss"] < self._best.get("loss", float("inf"))
        if self._epoch == 0:
            self._best = {"epoch": 0}
        if better:
            self._best = {"epoch": self._epoch, **measured}
            tensors = self.averaged.state_dict().items()
            self._best_tensors = {name: tensor.detach().cpu().clone() for name, tensor in tensors}
        end = EpochEnd(self._epoch, self._epochs, train_loss, measured, better, time.monotonic() - started)
        if self._epoch > 0:
            row = {"epoch": self._epoch, "train_loss": train_loss, **measured, "best": better}
            self._session.history.append({**row, "seconds": round(end.seconds, 3)})
        return end


def _create_optimizer(model: nn.Module, settings: AeSettings, device: torch.device) -> torch.optim.Optimizer:
    assert settings.lr is not None
    if settings.optimizer is Optimizer.MUON:
        return Muon(model, settings.lr)
    return torch.optim.Adam(model.parameters(), lr=settings.lr, fused=device.type in ("cpu", "cuda"))
