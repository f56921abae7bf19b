"""What people see of a GAN's training, and what the JSON document says of its result."""

from typing import TYPE_CHECKING, Any

from dltool.cli.console import Progress
from dltool.cli.watch import EventWatcher

if TYPE_CHECKING:
    from dltool.gan.data import GanData
    from dltool.gan.train import GanResult

_MOST_NAMED = 8
_FIGURES = {"frechet": "Fréchet distance", "kid": "KID"}


class Watcher(EventWatcher):
    """Turns the events of a run into progress and lines for people."""

    def __init__(self, progress: Progress, quiet: bool) -> None:
        super().__init__(progress, quiet)
        self._seconds: float | None = None

    def _Decided(self, event: Any) -> None:  # noqa: N802
        for line in describe_data(event.data):
            self._say(line)
        settings = event.settings
        self._seconds = settings.time
        length = f"{settings.epochs} epochs" if settings.time is None else f"{settings.time:g} s"
        passes = f" of {settings.passes} passes each" if settings.passes > 1 else ""
        marks = {"conditional": settings.conditional, "augmented": event.augmented, "bf16": event.bf16}
        extras = [text for text, holds in marks.items() if holds]
        generator, discriminator = event.parameters
        self._say(
            f"{settings.arch}: generator {generator:,} and discriminator {discriminator:,} parameters, "
            f"{settings.loss} loss, {length}{passes}" + "".join(f", {text}" for text in extras)
        )

    def _StepEnd(self, event: Any) -> None:  # noqa: N802
        done, total = (event.epoch - 1) * event.steps + event.step, event.epochs * event.steps
        if self._seconds is not None:
            done, total = round(event.progress * self._seconds), round(self._seconds)
        self._progress.update("training", done, total, f"g {event.g_loss:.3f} d {event.d_loss:.3f}")

    def _EpochEnd(self, event: Any) -> None:  # noqa: N802
        few = event.epochs <= 12 or event.epoch % max(1, event.epochs // 10) == 0 or event.epoch == event.epochs
        if not few and event.figure is None:
            return
        figure = "" if event.figure is None else f", {event.figure_name} {event.figure:.4g}{' *' if event.best else ''}"
        of = "" if self._seconds is not None else f"/{event.epochs}"
        self._say(
            f"epoch {event.epoch}{of}: g_loss {event.g_loss:.3f}, d_loss {event.d_loss:.3f}, tells "
            f"{100 * event.d_real:.0f} % of real, {100 * event.d_fake:.0f} % of generated{figure}"
        )

    def _GanResult(self, event: Any) -> None:  # noqa: N802
        self.result = event


def describe_data(data: "GanData") -> list[str]:
    """Lines for people: how many images of what kind, and what the check found."""
    kind = "grey" if data.channels == 1 else "colour"
    classes = f", {len(data.class_names)} classes" if len(data.class_names) > 1 else ""
    lines = [f"data: {len(data)} {kind} pictures of {data.size}x{data.size} pixels{classes}"]
    lines += [f"  note: {note}" for note in data.notes]
    lines += [f"  left out: {text}" for text in data.unreadable[:_MOST_NAMED]]
    if len(data.unreadable) > _MOST_NAMED:
        lines.append(f"  left out: {len(data.unreadable) - _MOST_NAMED} more files that cannot be read")
    return lines


def result_lines(result: "GanResult") -> list[str]:
    """What is said of the model in the end."""
    if not result.figure:
        return [f"{result.epochs} epochs; too few pictures for a quality figure, so the last snapshot is kept"]
    value = result.generator.metrics[result.figure]
    return [f"best snapshot: epoch {result.best_epoch}, {_FIGURES[result.figure]} {value:.4g} (quick features)"]


def result_fields(result: "GanResult") -> dict[str, Any]:
    """The result in the JSON document."""
    data, spec = result.decided.data, result.decided.spec
    generator, discriminator = result.decided.parameters
    return {
        "data": {"name": data.name, "pictures": len(data), "size": data.size, "channels": data.channels},
        "classes": result.generator.class_names,
        "latent_dim": spec.latent_dim,
        "parameters": {"generator": generator, "discriminator": discriminator},
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "training_seconds": round(result.seconds, 3),
        "metrics": result.generator.metrics,
        "unreadable": data.unreadable,
        "notes": data.notes,
    }
