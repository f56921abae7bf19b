"""Epochs over small images in memory, with a checkpoint after each; what all deep methods train by."""

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dltool.cluster.clustering import GroupingStep
from dltool.cluster.settings import ClusterSettings
from dltool.data.splits import content_hash
from dltool.settings import as_plain
from dltool.training.context import RunContext
from dltool.training.events import Notice
from dltool.training.run_folder import refuse_changes
from dltool.training.schedule import one_cycle
from dltool.training.seeds import epoch_order, seed_step
from dltool.training.session import check_finite

BATCH = 256
_CHECKPOINT_SECONDS = 120.0


@dataclass(frozen=True)
class Lesson:
    """What a network is to learn, and for how long.

    Attributes:
        task: what the progress bar calls it, and what a checkpoint is known by.
        module: everything that is trained.
        loss: from sample numbers (N, int64, on the CPU) and how many epochs are done, as a float, to a scalar.
        lr: peak of a one-cycle schedule.
        before_epoch: called with the epoch's number from 0, before each that is not resumed in its middle.
    """

    task: str
    module: nn.Module
    count: int
    epochs: int
    lr: float
    loss: Callable[[Tensor, float], Tensor]
    before_epoch: Callable[[int], None] = lambda epoch: None


def enough_epochs(count: int, steps: int) -> int:
    """Epochs of `count` samples that make about `steps` steps: small sets need more of them, up to 300."""
    return max(1, min(300, round(steps / max(1, -(-count // BATCH)))))


class Checkpoints:
    """`last.ckpt` of a run of `dltool cluster`: where training stands, and of which settings and images."""

    def __init__(self, context: RunContext, settings: ClusterSettings, images: np.ndarray) -> None:
        """Read what is to be resumed.

        Raises:
            SettingsError: the run is resumed, and settings or images differ from the checkpoint's.
            ModelError: the run is resumed, and the checkpoint is damaged.
        """
        self._run = context.run
        self._facts = as_plain(settings) | {"pictures": content_hash(np.ascontiguousarray(images).tobytes())}
        self._state: dict[str, Any] | None = None
        if self._run is not None and context.resume:
            self._state = self._run.load_checkpoint()
        if self._state is not None:
            refuse_changes(self._state["facts"], self._facts)

    def load(self, task: str) -> dict[str, Any] | None:
        """The state that was saved while this task was learnt."""
        if self._state is None or self._state["task"] != task:
            return None
        return self._state["state"]

    def save(self, task: str, state: Mapping[str, Any]) -> None:
        """Write the checkpoint, whole or not at all."""
        if self._run is not None:
            self._run.save_checkpoint({"task": task, "facts": self._facts, "state": dict(state)})


def learn(
    lesson: Lesson,
    seed: int,
    checkpoints: Checkpoints,
    should_stop: Callable[[], bool],
    more_state: Callable[[], dict[str, Any]] = dict,
    take_state: Callable[[dict[str, Any]], None] = lambda state: None,
) -> Generator[GroupingStep | Notice, None, bool]:
    """Train the lesson's module in place; return whether it was finished rather than stopped.

    Args:
        more_state, take_state: what a checkpoint needs beyond the module and its optimizer.

    Raises:
        DltoolError: the loss is not finite.
    """
    optimizer = torch.optim.Adam(lesson.module.parameters(), lr=lesson.lr)
    epoch, begin = 0, 0
    state = checkpoints.load(lesson.task)
    if state is not None:
        lesson.module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        epoch, begin = state["epoch"], state["step"]
        take_state(state["more"])
        yield Notice(f"{lesson.task}: resumed after epoch {epoch} of {lesson.epochs}")

    def save(done: int, step: int) -> None:
        own = {"module": lesson.module.state_dict(), "optimizer": optimizer.state_dict(), "more": more_state()}
        checkpoints.save(lesson.task, {**own, "epoch": done, "step": step})

    saved = time.monotonic()
    for number in range(epoch, lesson.epochs):
        if begin == 0:
            lesson.before_epoch(number)
        lesson.module.train()
        parts = np.array_split(epoch_order(lesson.count, seed, number), -(-lesson.count // BATCH))
        for step in range(begin, len(parts)):
            done = number + step / len(parts)
            _train_step(lesson, optimizer, parts[step], done, (seed, lesson.task, number, step))
            if should_stop():
                save(number, step + 1) if step + 1 < len(parts) else save(number + 1, 0)
                return False
            if time.monotonic() - saved > _CHECKPOINT_SECONDS and step + 1 < len(parts):
                save(number, step + 1)
                saved = time.monotonic()
            if step % 8 == 0:
                yield GroupingStep(lesson.task, number * len(parts) + step + 1, lesson.epochs * len(parts))
        begin = 0
        save(number + 1, 0)
        saved = time.monotonic()
        yield GroupingStep(lesson.task, (number + 1) * len(parts), lesson.epochs * len(parts))
    lesson.module.eval()
    return True


def _train_step(
    lesson: Lesson, optimizer: torch.optim.Optimizer, part: np.ndarray, done: float, seeds: tuple[int | str, ...]
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lesson.lr * one_cycle(done / lesson.epochs, 0.2)
    seed_step(*seeds)
    optimizer.zero_grad()
    loss = lesson.loss(torch.from_numpy(part), done)
    loss.backward()
    check_finite(float(loss.detach()), f"epoch {int(done) + 1} of {lesson.task}", f"a learning rate of {lesson.lr}")
    optimizer.step()
