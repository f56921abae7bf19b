"""Long calculations that tell how far they are: generators of (done, total) that return their result."""

from collections.abc import Generator
from typing import TypeVar

from torch import Tensor

Result = TypeVar("Result")

Work = Generator[tuple[int, int], None, Tensor]
"""Yields how many of how many passes are done, returns a tensor."""


def finish(work: Generator[tuple[int, int], None, Result]) -> Result:
    """Run `work` to its end and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
