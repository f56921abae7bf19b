"""Ctrl-C and SIGTERM: between steps of long work the first asks to stop, the second leaves at once."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(BaseException):
    """SIGTERM arrived; like KeyboardInterrupt no Exception, so that nothing mistakes it for a failed file."""


class ReportedCode(int):
    """An exit code whose reason the user has been told already."""


class StopRequest:
    """What has been asked for so far: `signal` is SIGINT, SIGTERM or None."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> ReportedCode:
        """The exit code, 130 or 143, for a command that has told the user what it stopped in."""
        return ReportedCode(128 + (self.signal or 0))

    def leave(self) -> None:
        """Raise what the signal would have raised, now that everything is saved."""
        raise Terminated if self.signal == signal.SIGTERM else KeyboardInterrupt


def raise_on_sigterm() -> None:
    """Let SIGTERM unwind the stack as Ctrl-C does, instead of ending the process where it stands."""

    def terminate(signum: int, frame: FrameType | None) -> None:
        raise Terminated

    try:
        signal.signal(signal.SIGTERM, terminate)
    except ValueError:  # not the main thread: a test or a server runs the command
        return


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Collect the first SIGINT or SIGTERM for the loop to see; a second one ends the process immediately.

    Outside the main thread signals are left alone, and the request never comes.
    """
    request = StopRequest()

    def handle(signum: int, frame: FrameType | None) -> None:
        if request:
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h\n")  # a progress bar hides the cursor
            os._exit(128 + signum)
        request.signal = signum

    try:
        previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        yield request
        return
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
