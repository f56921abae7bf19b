"""Long work is a generator: it yields what happens as small frozen dataclasses, and returns its result."""

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import Any, TypeVar

_Event = TypeVar("_Event")
_Told = TypeVar("_Told")
_Result = TypeVar("_Result")


def finish(events: Generator[_Event, None, _Result], show: Callable[[_Event], Any] | None = None) -> _Result:
    """Run a generator to its end and return its result, the way for scripts and notebooks.

    Args:
        show: called with every event on the way.
    """
    with closing(events):
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return end.value
            if show is not None:
                show(event)


def mapped(
    events: Generator[_Event, None, _Result], change: Callable[[_Event], _Told]
) -> Generator[_Told, None, _Result]:
    """The same work and result, with what happens told as `change` says."""
    return (yield from expanded(events, lambda event: [change(event)]))


def expanded(
    events: Generator[_Event, None, _Result], change: Callable[[_Event], Iterable[_Told]]
) -> Generator[_Told, None, _Result]:
    """The same work and result, with every event told as those that `change` makes of it."""
    with closing(events):
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return end.value
            yield from change(event)


def until_stopped(
    events: Generator[_Event, None, _Result], should_stop: Callable[[], bool]
) -> Generator[_Event, None, _Result | None]:
    """Pass on what a generator yields and return its result; leave it, with None, once `should_stop` says so."""
    with closing(events):
        while not should_stop():
            try:
                event = next(events)
            except StopIteration as end:
                return end.value
            yield event
    return None
