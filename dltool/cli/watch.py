"""What all commands that train or group have in common for those who watch."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any, ClassVar

from dltool.cli.console import Progress
from dltool.cli.signals import StopRequest


class EventWatcher:
    """Turns the events of a run into progress and lines for people: a method `_Name` for each event `Name`.

    By the type's name, so that nothing of torch is imported for it.
    """

    leave_after: ClassVar[tuple[str, ...]] = ("Checked", "Stopped")

    def __init__(self, progress: Progress, quiet: bool) -> None:
        self.result: Any = None
        self._progress = progress
        self._quiet = quiet

    def show(self, event: Any) -> None:
        """Handle one event."""
        handler = getattr(self, f"_{type(event).__name__}", None)
        if handler is not None:
            handler(event)

    def watch(self, events: Iterator[Any], stop: StopRequest) -> Any:
        """Show what happens until the run ends, and return its result; None if it was stopped."""
        with closing(events):  # type: ignore[type-var]
            while True:
                try:
                    event = next(events)
                except StopIteration as end:
                    return self.result if end.value is None else end.value
                self.show(event)
                # Here a run may be left without a checkpoint of its own: before training, or once it has stopped.
                if stop and type(event).__name__ in self.leave_after:
                    return None

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._progress.say(text)

    def _Checked(self, event: Any) -> None:  # noqa: N802 (named after the event)
        self._progress.update("checking the data", event.done, event.total)

    def _Extracted(self, event: Any) -> None:  # noqa: N802
        self._progress.update("computing features", event.done, event.total)

    def _Notice(self, event: Any) -> None:  # noqa: N802
        self._say(event.text)
