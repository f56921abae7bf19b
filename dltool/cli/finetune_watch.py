"""What people see of a training run, and what the JSON document says of its result."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from dltool.cli.console import Progress
from dltool.cli.data_options import describe_data
from dltool.cli.watch import EventWatcher
from dltool.finetune.settings import ignored, option

if TYPE_CHECKING:
    from dltool.finetune.train import FinetuneResult


class Watcher(EventWatcher):
    """Turns the events of a run into progress and lines for people."""

    leave_after = ("Checked", "Extracted", "Stopped")

    def __init__(self, progress: Progress, quiet: bool, prefix: str = "", given: Collection[str] = ()) -> None:
        """Show on `progress`; `given` are the options that were typed, for a word on those without effect."""
        super().__init__(progress, quiet)
        self._prefix = prefix
        self._given = given

    def _say(self, text: str) -> None:
        super()._say(f"{self._prefix}{text}")

    def _DataReport(self, event: Any) -> None:  # noqa: N802
        for line in describe_data(event):
            self._say(line)

    def _Decided(self, event: Any) -> None:  # noqa: N802
        self._say(f"strategy: {event.settings.strategy.value}; {event.reason}")
        unused = [option(name) for name in ignored(event.settings) if name in self._given]
        if unused:
            self._say(f"  note: {', '.join(unused)} changes nothing with this strategy")

    def _PhaseStart(self, event: Any) -> None:  # noqa: N802
        from dltool.finetune.report import parameter_table

        for line in parameter_table(event.parameters):
            self._say(f"  {line}")

    def _StepEnd(self, event: Any) -> None:  # noqa: N802
        done, total = (event.epoch - 1) * event.steps + event.step, event.epochs * event.steps
        self._progress.update(f"{self._prefix}training ({event.phase})", done, total, f"loss {event.loss:.4f}")

    def _EpochEnd(self, event: Any) -> None:  # noqa: N802
        few = event.epochs <= 12 or event.epoch % max(1, event.epochs // 6) == 0 or event.epoch == event.epochs
        if event.epoch == 0 or not few:
            return
        self._say(
            f"{event.phase} epoch {event.epoch}/{event.epochs}: loss {event.train_loss:.4f}, "
            f"val loss {event.measured['val_loss']:.4f}, "
            f"val accuracy {100 * event.measured['val_accuracy']:.1f} %{' *' if event.best else ''}"
        )

    def _FinetuneResult(self, event: Any) -> None:  # noqa: N802
        self.result = event


def result_fields(result: "FinetuneResult") -> dict[str, Any]:
    """The part of the JSON document that a run and a row of a comparison share."""
    return {
        "strategy": result.settings.strategy,
        "reason": result.decision.reason,
        "probe": result.decision.probe,
        "classes": result.dataset.class_names,
        "counts": {name: len(split) for name, split in result.dataset.splits.items()},
        "parameters": {
            "trainable": sum(block.trainable for block in result.parameters),
            "total": sum(block.total for block in result.parameters),
            "blocks": result.parameters,
        },
        "name_matches": result.name_matches,
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "training_seconds": round(result.seconds, 3),
        "metrics": result.metrics,
        "test_metrics": result.test_metrics,
    }
