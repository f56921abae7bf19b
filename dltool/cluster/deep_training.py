"""How the deep methods use the training loop: on small images in memory, one checkpoint for all that a run learns."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from dltool.cluster.clustering import GroupingStep
from dltool.cluster.settings import ClusterSettings
from dltool.data.splits import content_hash
from dltool.events import expanded
from dltool.settings import as_plain
from dltool.training import distributed
from dltool.training.context import RunContext
from dltool.training.events import EpochEnd, Notice, StepEnd, Stopped
from dltool.training.loop import TrainingLoop
from dltool.training.run_folder import refuse_changes
from dltool.training.schedule import one_cycle
from dltool.training.seeds import epoch_order
from dltool.training.session import Session
from dltool.training.trainer import Batch, Plan, Share, Trainer

BATCH = 256
LR = 2e-3


class NumberTrainer(Trainer):
    """A trainer whose batches are the samples' numbers (N, int64, on the CPU): what they show is drawn in the loss."""

    def batches(self, shares: Sequence[Share]) -> Iterator[Batch]:
        for share in shares:
            yield (torch.from_numpy(share.samples),)


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
        self._listed = False
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
        if self._run is not None and distributed.rank() == 0:
            if not self._listed:
                self._run.go_on("cluster")
                self._listed = True
            self._run.save_checkpoint({"task": task, "facts": self._facts, "state": dict(state)})


class _TaskSession(Session):
    """The session of one task, whose state goes into the run's checkpoint."""

    def __init__(self, task: str, checkpoints: Checkpoints, should_stop: Callable[[], bool]) -> None:
        super().__init__(None, should_stop)
        self._task = task
        self._checkpoints = checkpoints

    def save(self, state: Mapping[str, Any]) -> None:
        super().save(state)
        self._checkpoints.save(self._task, state)


def learn(
    trainer: Trainer,
    task: str,
    module: nn.Module,
    count: int,
    epochs: int,
    seed: int,
    checkpoints: Checkpoints,
    should_stop: Callable[[], bool],
) -> Generator[GroupingStep | Notice, None, bool]:
    """Train a module in place on `count` images; return whether it was finished rather than stopped.

    Args:
        task: what the progress bar calls it, and what a checkpoint is known by.

    Raises:
        DltoolError: the loss is not finite.
        DeviceError: not even one image fits into memory.
    """
    plan = Plan(
        module=module,
        parameters=list(module.parameters()),
        optimizer=torch.optim.Adam(module.parameters(), lr=LR),
        schedule=partial(one_cycle, peak=0.2),
        order=lambda epoch: epoch_order(count, seed, epoch),
        batch_size=BATCH,
        epochs=epochs,
        seeds=(seed, task),
        blame=f"a learning rate of {LR}",
        advice="try a smaller --size or --latent-dim",
        phase=task,
    )
    loop = TrainingLoop(plan, trainer, _TaskSession(task, checkpoints, should_stop))
    state = checkpoints.load(task)
    if state is not None:
        loop.resume(state)
        yield Notice(f"{task}: resumed after epoch {loop.epoch} of {epochs}")
    finished = yield from expanded(loop.run(), _as_grouping_steps)
    module.eval()
    return finished


def _as_grouping_steps(event: StepEnd | EpochEnd | Notice | Stopped) -> list[GroupingStep | Notice]:
    if isinstance(event, StepEnd):
        done, total = (event.epoch - 1) * event.steps + event.step, event.epochs * event.steps
        return [GroupingStep(event.phase, done, total)]
    return [event] if isinstance(event, Notice) else []
