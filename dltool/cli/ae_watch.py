"""What people see of an autoencoder's training, and what the JSON document says of its result."""

from typing import TYPE_CHECKING, Any

from dltool.cli.watch import EventWatcher

if TYPE_CHECKING:
    from dltool.autoencoder.data import Loaded
    from dltool.autoencoder.train import AeResult


class Watcher(EventWatcher):
    """Turns the events of a run into progress and lines for people."""

    leave_after = ("Checked", "Loaded", "Prepared", "Stopped")

    def _Checked(self, event: Any) -> None:  # noqa: N802 (named after the event)
        self._progress.update("reading the pictures", event.done, event.total)

    def _Loaded(self, event: Any) -> None:  # noqa: N802
        for line in describe_data(event):
            self._say(line)

    def _Prepared(self, event: Any) -> None:  # noqa: N802
        settings = event.settings
        size = "crops" if "height" not in event.arguments else f"{event.arguments['height']}x{event.arguments['width']}"
        self._say(
            f"network: {settings.arch.value}, {event.parameters:,} parameters, "
            f"{event.arguments['in_channels']} channel(s), {size}, noise {settings.noise}; "
            f"{event.samples} samples per epoch, batch {settings.batch_size}, {settings.epochs} epochs"
        )

    def _StepEnd(self, event: Any) -> None:  # noqa: N802
        done, total = (event.epoch - 1) * event.steps + event.step, event.epochs * event.steps
        self._progress.update("training", done, total, f"loss {event.loss:.5f}")

    def _EpochEnd(self, event: Any) -> None:  # noqa: N802
        few = event.epochs <= 20 or event.epoch % max(1, event.epochs // 20) == 0 or event.epoch == event.epochs
        if event.epoch == 0 or not few:
            return
        figures = [
            f"{name} {row['psnr']:.2f} dB" if name != "clean" else f"mse {row['mse']:.5f}, {row['psnr']:.2f} dB"
            for name, row in event.held_out["levels"].items()
        ]
        self._say(
            f"epoch {event.epoch}/{event.epochs}: loss {event.train_loss:.5f}, "
            f"held out {event.held_out['loss']:.5f} ({', '.join(figures)}){' *' if event.best else ''} "
            f"{event.seconds:.1f} s"
        )

    def _AeResult(self, event: Any) -> None:  # noqa: N802
        self.result = event


def describe_data(loaded: "Loaded", most: int = 8) -> list[str]:
    """Lines for people: what is in the splits, and what could not be read."""
    lines = ["data: " + ", ".join(f"{len(split)} {name}" for name, split in loaded.splits.items())]
    lines += [f"  note: {note}" for note in loaded.notes]
    lines += [f"  left out: {text}" for text in loaded.unreadable[:most]]
    if len(loaded.unreadable) > most:
        lines.append(f"  left out: {len(loaded.unreadable) - most} more files that cannot be read")
    return lines


def describe_measured(kind: str, metrics: dict[str, Any]) -> list[str]:
    """A line for each strength of the noise: how well the images of a split came back."""
    lines = []
    for name, row in metrics["levels"].items():
        before = f" (noisy {row['noisy_psnr']:.2f} dB)" if "noisy_psnr" in row else ""
        lines.append(
            f"{kind}, {name}: mse {row['mse']:.5f}, PSNR {row['psnr']:.2f} dB{before}, SSIM {row['ssim']:.4f}, "
            f"{metrics['pictures']} pictures"
        )
    return lines


def result_fields(result: "AeResult") -> dict[str, Any]:
    """The part of the JSON document that says what came of a run."""
    return {
        "arguments": result.autoencoder.arguments,
        "parameters": result.parameters,
        "counts": {name: len(split) for name, split in result.data.splits.items()},
        "notes": result.data.notes,
        "unreadable": result.data.unreadable,
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "training_seconds": round(result.seconds, 3),
        "metrics": result.metrics,
        "test_metrics": result.test_metrics,
    }
