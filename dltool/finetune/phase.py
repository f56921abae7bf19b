"""The phases of a run: what each trains, on what and for how long, and what it learns in a step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dltool.device import autocast, send_together
from dltool.finetune.saving import ModelSaver
from dltool.finetune.settings import FinetuneSettings, Optimizer
from dltool.training.events import EpochEnd
from dltool.training.loop import TrainingLoop
from dltool.training.schedule import cosine
from dltool.training.seeds import epoch_order
from dltool.training.session import Session
from dltool.training.trainer import Batch, Measured, Plan, Share, Trainer

_CLIP = 1.0


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
        kept: whether its epochs' models are those that `--keep-checkpoints` means.
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
    kept: bool = True

    def penalty(self) -> Tensor:
        """Half the strength times the sum of the squared weights."""
        return self.l2 / 2 * sum(weight.square().sum() for weight in self.l2_weights)


class ClassifierTrainer(Trainer):
    """Learns classes by the cross-entropy; the best has the least loss on the validation split."""

    def __init__(self, phase: Phase, settings: FinetuneSettings, device: torch.device, bf16: bool, saver: ModelSaver):
        self._phase = phase
        self._smoothing = settings.label_smoothing or 0.0
        self._device = device
        self._bf16 = bf16
        self._saver = saver

    def batches(self, shares: Sequence[Share]) -> Iterator[Batch]:
        phase = self._phase
        parts = [share.samples for share in shares]
        chosen = send_together(parts, phase.labels.device)
        for batch, numbers in zip(phase.source.batches(parts, shares[0].epoch), chosen, strict=True):
            yield batch, phase.labels[numbers]

    def loss(self, batch: Batch, share: Share) -> Tensor:
        inputs, labels = batch
        with autocast(self._device, self._bf16):
            logits = self._phase.model(inputs)
        losses = F.cross_entropy(
            logits.float(),
            labels,
            weight=self._phase.class_weights,
            label_smoothing=self._smoothing,
            reduction="sum",
        )
        return losses * share.weight

    def measure(self, model: nn.Module) -> Measured:
        logits = self._phase.validate(model).float().cpu()
        loss = float(F.cross_entropy(logits, self._phase.val_labels))
        accuracy = float((logits.argmax(1) == self._phase.val_labels).double().mean())
        return Measured({"val_loss": loss, "val_accuracy": accuracy}, loss, (-loss, accuracy))

    def end_epoch(self, model: nn.Module, end: EpochEnd) -> None:
        if self._phase.kept:
            self._saver.save_epoch(model, end.epoch)

    def write_best(self, tensors: Mapping[str, Tensor], best: Mapping[str, Any]) -> None:
        self._saver.save_best(tensors, best)


def new_loop(
    phase: Phase, settings: FinetuneSettings, session: Session, device: torch.device, bf16: bool, saver: ModelSaver
) -> TrainingLoop:
    """The loop that trains this phase; `settings` are complete."""
    assert settings.batch_size is not None
    count, seed = len(phase.source), settings.seed
    plan = Plan(
        module=phase.model,
        parameters=[parameter for group in phase.groups for parameter in group["params"]],
        optimizer=_new_optimizer(phase.groups, settings),
        schedule=partial(cosine, warmup=settings.warmup),
        order=lambda epoch: epoch_order(count, seed + 1000 * phase.number, epoch, phase.draw),
        batch_size=settings.batch_size,
        epochs=phase.epochs,
        seeds=(seed, phase.number),
        blame=f"--lr {settings.lr} --head-lr {settings.head_lr}",
        advice="try a smaller --size or another --backbone",
        phase=phase.name,
        number=phase.number,
        parts=settings.accumulate,
        ema=settings.ema,
        clip=_CLIP if phase.clip else 0.0,
        penalty=phase.penalty if phase.l2 else None,
        patience=settings.patience,
        shared=phase.shared,
        timed=phase.timed,
    )
    return TrainingLoop(plan, ClassifierTrainer(phase, settings, device, bf16, saver), session)


def _new_optimizer(groups: list[dict[str, Any]], settings: FinetuneSettings) -> torch.optim.Optimizer:
    decay = settings.weight_decay or 0.0
    if settings.optimizer is Optimizer.SGD:
        return torch.optim.SGD(groups, lr=1.0, momentum=0.9, weight_decay=decay)
    return torch.optim.AdamW(groups, lr=1.0, weight_decay=decay)
