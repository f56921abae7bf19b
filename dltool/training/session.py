"""What every training loop asks between two steps: shall I stop, is the time up, is a checkpoint due."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from dltool.errors import DltoolError
from dltool.training import distributed
from dltool.training.run_folder import RunFolder


class Session:
    """Clock, history and checkpoints of one run; only rank 0 writes.

    Under torchrun all processes stop at the same step and go by the clock of the first: what `stop_requested`,
    `progress` and `time_is_up` say was agreed on at the last `look`.

    Attributes:
        history: one dictionary per finished epoch, as in `metrics.jsonl`.
        stop_requested: whether some process was asked to stop.
    """

    def __init__(
        self,
        run: RunFolder | None,
        should_stop: Callable[[], bool] = lambda: False,
        budget: float | None = None,
        checkpoint_seconds: float = 120.0,
    ) -> None:
        """Start the clock.

        Args:
            run: where to write; None writes nothing.
            should_stop: asked at every `look`.
            budget: seconds that the run may take, over all its continuations.
            checkpoint_seconds: longest time between two checkpoints.
        """
        self.run = run
        self.stop_requested = False
        self._should_stop = should_stop
        self.history: list[dict[str, Any]] = []
        self._budget = budget
        self._started = time.monotonic()
        self._saved = self._started
        self._checkpoint_seconds = checkpoint_seconds
        self._agreed: float | None = None

    def resume(self, state: Mapping[str, Any]) -> None:
        """Take history and clock over from a checkpoint, and bring `metrics.jsonl`, written after it, up to it."""
        self.history = list(state["history"])
        self._started = time.monotonic() - state["elapsed"]
        if self.run is not None and distributed.rank() == 0:
            self.run.write_history(self.history)

    @property
    def elapsed(self) -> float:
        """Seconds of this run, those before it was resumed included; the same in every process after `look`."""
        return time.monotonic() - self._started if self._agreed is None else self._agreed

    def look(self) -> None:
        """Ask whether to stop, and set the clocks alike; every process does so at the same steps."""
        self.stop_requested = distributed.any_rank(self._should_stop())
        self.set_clocks()

    def set_clocks(self) -> None:
        """Take the first process's time, under torchrun, until the next `look`."""
        if distributed.world_size() > 1:
            self._agreed = distributed.first_ranks(time.monotonic() - self._started)

    def progress(self, done: float, begun: float = 0.0) -> float:
        """Share of a phase that is done: by steps (`done` in [0, 1]) or by time, whichever is more.

        `begun` is what `elapsed` was at the phase's start; it is to end when the time budget does.
        """
        if self._budget is None:
            return done
        left = max(self._budget - begun, 1e-6)
        return min(1.0, max(done, (self.elapsed - begun) / left))

    @property
    def time_is_up(self) -> bool:
        """Whether the time budget is used up."""
        return self._budget is not None and self.elapsed >= self._budget

    @property
    def checkpoint_due(self) -> bool:
        """Whether the last checkpoint is a few minutes old."""
        return time.monotonic() - self._saved >= self._checkpoint_seconds

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the checkpoint, with history and clock, and `metrics.jsonl`."""
        self._saved = time.monotonic()
        if self.run is None or distributed.rank() != 0:
            return
        self.run.save_checkpoint({**state, "history": self.history, "elapsed": self.elapsed})
        self.run.write_history(self.history)


def check_finite(loss: float, place: str, settings: str) -> None:
    """Raise DltoolError if the loss is no number any more; `place` and `settings` go into the message."""
    if not math.isfinite(loss):
        raise DltoolError(
            f"the loss is {loss} at {place} with {settings}; the last good checkpoint is kept; "
            "lower --lr, or use --precision fp32"
        )
