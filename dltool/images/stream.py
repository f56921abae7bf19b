"""Reading the next images and writing the last ones while the network works on the one between."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from dltool.errors import DltoolError

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    items: Sequence[Item], read: Callable[[Item], Result], workers: int, ahead: int = 0
) -> Iterator[tuple[Item, Result | DltoolError]]:
    """Yield every item, in order, with what `read` made of it, or with the DltoolError that `read` raised.

    `workers` threads read up to `workers` items ahead, or `ahead` where that is more; with 0 workers each is read
    when it is asked for.
    """
    if workers == 0:
        for item in items:
            try:
                yield item, read(item)
            except DltoolError as error:
                yield item, error
        return
    executor = ThreadPoolExecutor(workers, thread_name_prefix="read")
    pending: deque[tuple[Item, Future[Result]]] = deque()
    waiting = iter(items)
    try:
        while True:
            for item in waiting:
                pending.append((item, executor.submit(read, item)))
                if len(pending) > max(workers, ahead):
                    break
            if not pending:
                return
            item, future = pending.popleft()
            error = future.exception()
            if error is not None and not isinstance(error, DltoolError):
                raise error
            yield item, error if error is not None else future.result()
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


class WriteBehind:
    """Runs writing calls one after the other on a thread of their own; leaving the context waits for all of them.

    At most two calls wait, so that a slow disk holds the work up instead of filling the memory.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._pending: deque[Future[Any]] = deque()

    def __enter__(self) -> "WriteBehind":
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(wait=True)

    def submit(self, write: Callable[[], Result]) -> "Future[Result]":
        """Queue one call; the future tells when it is done, and what it returned or raised."""
        while len(self._pending) >= 2:
            self._pending.popleft().exception()
        future = self._executor.submit(write)
        self._pending.append(future)
        return future
