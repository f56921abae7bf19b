"""One phase of training: epochs over a source of batches, validated, checkpointed and resumed."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dltool.finetune.settings import FinetuneSettings, Optimizer
from dltool.training import distributed
from dltool.training.ema import Ema
from dltool.training.events import Notice, Stopped
from dltool.training.memory import halve_until_it_fits
from dltool.training.schedule import cosine
from dltool.training.seeds import epoch_order, seed_step
from dltool.training.session import Session, check_finite

_CLIP = 1.0
# A new best model is written at once, but in short epochs not more often than this.
_BEST_SECONDS = 10.0


@dataclass(frozen=True)
class StepEnd:
    """Step `step` of `steps` in an epoch is done; `loss` is the epoch's mean so far."""

    phase: str
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class EpochEnd:
    """An epoch is done and validated; epoch 0 is the state before the phase."""

    phase: str
    epoch: int
    epochs: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    best: bool
    seconds: float


class Source(Protocol):
    """Training samples by number; what a batch holds is a function of its numbers and the epoch."""

    def __len__(self) -> int: ...

    def batches(self, parts: list[np.ndarray], epoch: int) -> Iterator[Tensor]: ...


@dataclass(frozen=True)
class Phase:
    """What a phase trains, on what, and for how long.

    Attributes:
        number, name: its place in the run.
        model: trained in place; `validate` is given this or its average.
        groups: the optimizer's parameter groups, each with its own `lr`.
        source, labels: samples and their classes, labels on the device.
        validate: returns the validation split's N × classes logits on the CPU.
        val_labels: N on the CPU.
        l2_weights, l2: weights with an L2 penalty in the loss, and its strength.
        class_weights: of the loss, mean 1 over the samples; None for equal ones.
        draw: shares by which samples are drawn with replacement; None goes through all of them.
        shared: whether processes under torchrun share every batch out; else each does the same work.
        clip: whether the gradient's norm is limited to 1.
        timed: whether the time budget ends it; a head's phase takes seconds and always runs to its end.
        on_epoch: called after every epoch with the model that was validated and the epoch's number.
        on_best: called with the best model's tensors, its epoch, accuracy and loss, when there is a new best one;
            in short epochs only every few seconds, and when the phase stops or fails before its end.
    """

    number: int
    name: str
    epochs: int
    model: nn.Module
    groups: list[dict[str, Any]]
    source: Source
    labels: Tensor
    validate: Callable[[nn.Module], Tensor]
    val_labels: Tensor
    l2_weights: tuple[Tensor, ...] = ()
    l2: float = 0.0
    class_weights: Tensor | None = None
    draw: np.ndarray | None = None
    shared: bool = True
    clip: bool = False
    timed: bool = True
    on_epoch: Callable[[nn.Module, int], None] = lambda model, epoch: None
    on_best: Callable[[Mapping[str, Tensor], Mapping[str, Any]], None] = lambda tensors, best: None


class PhaseTrainer:
    """Runs one phase; its state can be saved after any step and taken up again."""

    def __init__(
        self, phase: Phase, settings: FinetuneSettings, session: Session, device: torch.device, bf16: bool
    ) -> None:
        self.phase = phase
        self._settings = settings
        self._session = session
        self._device = device
        self._bf16 = bf16
        self._parts = settings.accumulate
        self._optimizer = _new_optimizer(phase.groups, settings)
        self._rates = [group["lr"] for group in self._optimizer.param_groups]
        self._ema = Ema(phase.model, settings.ema) if settings.ema else None
        self._parallel = self._wrap(phase.model)
        self._epoch = 0
        self._step = 0
        self._loss_sum = 0.0
        self._stale = 0
        self._begun = 0.0
        self._best: dict[str, Any] = {"epoch": -1, "accuracy": -1.0, "loss": float("inf")}
        self._best_tensors: dict[str, Tensor] = {}
        self._best_is_new = False
        self._best_written = float("-inf")

    def _wrap(self, model: nn.Module) -> nn.Module:
        if distributed.world_size() == 1 or not self.phase.shared:
            return model
        return nn.parallel.DistributedDataParallel(model)

    def resume(self, state: Mapping[str, Any]) -> None:
        """Take over the state that `state()` returned in an earlier process."""
        self.phase.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate
        if self._ema is not None:
            self._ema.module.load_state_dict(state["ema"])
            self._ema.steps = state["ema_steps"]
        self._epoch, self._step, self._loss_sum = state["epoch"], state["step"], state["loss_sum"]
        self._stale, self._parts, self._begun = state["stale"], state["parts"], state["begun"]
        self._best, self._best_tensors = dict(state["best"]), dict(state["best_tensors"])
        self._best_is_new = bool(self._best_tensors)

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the phase depends on: tensors, numbers and texts."""
        return {
            "phase": self.phase.number,
            "epoch": self._epoch,
            "step": self._step,
            "loss_sum": self._loss_sum,
            "stale": self._stale,
            "parts": self._parts,
            "begun": self._begun,
            "model": self.phase.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "ema": self._ema.module.state_dict() if self._ema else None,
            "ema_steps": self._ema.steps if self._ema else 0,
            "best": self._best,
            "best_tensors": self._best_tensors,
        }

    def run(self) -> Iterator[StepEnd | EpochEnd | Notice | Stopped]:
        """Train to the end of the phase; then the model holds its best state. After Stopped nothing more comes.

        Raises:
            DltoolError: the loss is not finite.
            DeviceError: not even one sample fits into memory.
        """
        try:
            for event in self._run():
                if isinstance(event, Stopped):
                    self._write_best()
                    yield event
                    return
                yield event
        except BaseException:  # GeneratorExit too: whoever watched the run has left it
            self._write_best()
            raise
        best = {name: tensor.to(self._device) for name, tensor in self._best_tensors.items()}
        self.phase.model.load_state_dict(best)

    def _run(self) -> Iterator[StepEnd | EpochEnd | Notice | Stopped]:
        phase, session = self.phase, self._session
        if self._best["epoch"] < 0:
            self._begun = session.elapsed
            yield self._validate(0.0, time.monotonic())
        while self._epoch < phase.epochs and not self._finished_early():
            started = time.monotonic()
            for event in self._run_epoch():
                yield event
                if isinstance(event, Stopped):
                    return
            self._epoch += 1
            end = self._validate(self._loss_sum / self._step, started)
            self._step, self._loss_sum = 0, 0.0
            phase.on_epoch(self._ema.module if self._ema else phase.model, self._epoch)
            session.save(self.state())
            if time.monotonic() - self._best_written >= _BEST_SECONDS:
                self._write_best()
            yield end
            if distributed.any_rank(session.should_stop(), self._device) and self._epoch < phase.epochs:
                yield Stopped()
                return

    def _write_best(self) -> None:
        """Hand the best model over if it was not handed over yet."""
        if self._best_is_new:
            self.phase.on_best(self._best_tensors, self._best)
            self._best_is_new, self._best_written = False, time.monotonic()

    def _finished_early(self) -> bool:
        patience = self._settings.patience
        up = self.phase.timed and distributed.any_rank(self._session.time_is_up, self._device)
        return self._epoch > 0 and (up or (patience > 0 and self._stale >= patience))

    def _run_epoch(self) -> Iterator[StepEnd | Notice | Stopped]:
        phase, session = self.phase, self._session
        slices = self._slices(self._epoch)
        world = distributed.world_size() if phase.shared else 1
        own = [part[distributed.rank() :: world] if world > 1 else part for part in slices]
        own = [part if len(part) else whole[:1] for part, whole in zip(own, slices, strict=True)]
        inputs = phase.source.batches(own[self._step :], self._epoch)
        self._parallel.train()
        for part, whole, batch in zip(own[self._step :], slices[self._step :], inputs, strict=True):
            share = 1.0 if world == 1 or len(whole) > distributed.rank() else 0.0
            before = self._parts
            loss = self._train_step(batch, phase.labels[torch.from_numpy(part)], len(whole), world * share, len(slices))
            self._loss_sum += loss
            self._step += 1
            if self._parts != before:
                yield Notice(f"out of memory: every batch of {len(whole)} now goes in {self._parts} parts")
            yield StepEnd(
                phase.name, self._epoch + 1, phase.epochs, self._step, len(slices), self._loss_sum / self._step
            )
            if distributed.any_rank(session.should_stop(), self._device):
                session.save(self.state())
                yield Stopped()
                return
            if self._step < len(slices) and session.checkpoint_due:
                session.save(self.state())
            if phase.timed and distributed.any_rank(session.time_is_up, self._device):
                return

    def _slices(self, epoch: int) -> list[np.ndarray]:
        """The epoch's batches, of nearly equal sizes, so that no last one is too small for a batch norm.

        They don't depend on the number of processes, so that any number of them learns the same.
        """
        count, size = len(self.phase.source), self._settings.batch_size
        assert size is not None
        order = epoch_order(count, self._settings.seed + 1000 * self.phase.number, epoch, self.phase.draw)
        parts = -(-count // size)
        if parts > 1 and count // parts < 2 <= size:
            parts -= 1
        return np.array_split(order, parts)

    def _train_step(self, inputs: Tensor, labels: Tensor, count: int, scale: float, steps: int) -> float:
        """Move the weights by one batch of `count` samples on all processes; return the batch's mean loss."""
        phase = self.phase
        done = (self._epoch + self._step / steps) / phase.epochs
        if phase.timed:
            done = self._session.progress(done, self._begun)
        factor = cosine(done, self._settings.warmup)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

        def attempt(parts: int) -> float:
            self._parts = parts
            seed_step(self._settings.seed, phase.number, self._epoch, self._step, distributed.rank())
            self._optimizer.zero_grad()
            return self._backward(inputs, labels, count, scale)

        advice = "try a smaller --size or another --backbone"
        loss, self._parts = halve_until_it_fits(attempt, self._parts, len(labels), advice)
        place = f"step {self._step + 1} of epoch {self._epoch + 1} ({phase.name})"
        check_finite(loss, place, f"--lr {self._settings.lr} --head-lr {self._settings.head_lr}")
        if phase.clip:
            nn.utils.clip_grad_norm_([p for group in phase.groups for p in group["params"]], _CLIP)
        self._optimizer.step()
        if self._ema is not None:
            self._ema.update(phase.model)
        return loss

    def _backward(self, inputs: Tensor, labels: Tensor, count: int, scale: float) -> float:
        """Accumulate the gradient of the batch's mean loss, in parts, and return that loss over all processes."""
        phase = self.phase
        # Parts of one sample would break batch norms in training; only a lack of memory makes them that small.
        asked_for = self._parts == self._settings.accumulate
        parts = max(1, min(self._parts, len(labels) // 2 if asked_for else len(labels)))
        total = torch.zeros((), device=self._device)
        chunks = list(zip(inputs.tensor_split(parts), labels.tensor_split(parts), strict=True))
        for number, (images, truth) in enumerate(chunks):
            last = number == len(chunks) - 1
            with self._no_sync(last), self._autocast():
                logits = self._parallel(images)
            with self._no_sync(last):
                losses = F.cross_entropy(
                    logits.float(),
                    truth,
                    weight=phase.class_weights,
                    label_smoothing=self._settings.label_smoothing or 0.0,
                    reduction="sum",
                )
                loss = losses * (scale / count)
                total += loss.detach()
                if last and phase.l2:
                    loss = loss + phase.l2 / 2 * sum(weight.square().sum() for weight in phase.l2_weights)
                loss.backward()
        if phase.shared and distributed.world_size() > 1:
            total = distributed.sum_over_ranks(total) / distributed.world_size()
        return float(total)

    def _no_sync(self, last: bool) -> AbstractContextManager[object]:
        return nullcontext() if last or self._parallel is self.phase.model else self._parallel.no_sync()

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self._device.type, torch.bfloat16) if self._bf16 else nullcontext()

    def _validate(self, train_loss: float, started: float) -> EpochEnd:
        phase = self.phase
        model = self._ema.module if self._ema else phase.model
        model.eval()
        with torch.no_grad():
            logits = phase.validate(model).float().cpu()
        loss = float(F.cross_entropy(logits, phase.val_labels))
        accuracy = float((logits.argmax(1) == phase.val_labels).double().mean())
        # What a first phase starts from has learnt nothing, and is the best at nothing.
        counts = self._epoch > 0 or phase.number > 0
        better = counts and (accuracy, -loss) > (self._best["accuracy"], -self._best["loss"])
        self._stale = 0 if better or not counts else self._stale + 1
        if not counts:
            self._best["epoch"] = 0
        if better:
            self._best = {"epoch": self._epoch, "accuracy": accuracy, "loss": loss}
            self._best_is_new = True
            self._best_tensors = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        end = EpochEnd(
            phase.name, self._epoch, phase.epochs, train_loss, loss, accuracy, better, time.monotonic() - started
        )
        if self._epoch > 0:
            row = {"phase": end.phase, "epoch": end.epoch, "train_loss": train_loss, "val_loss": loss}
            self._session.history.append(
                {**row, "val_accuracy": accuracy, "best": better, "seconds": round(end.seconds, 3)}
            )
        return end


def _new_optimizer(groups: list[dict[str, Any]], settings: FinetuneSettings) -> torch.optim.Optimizer:
    decay = settings.weight_decay or 0.0
    if settings.optimizer is Optimizer.SGD:
        return torch.optim.SGD(groups, lr=1.0, momentum=0.9, weight_decay=decay)
    return torch.optim.AdamW(groups, lr=1.0, weight_decay=decay)
