"""Going on with less memory: the same batch in more, smaller parts."""

from collections.abc import Callable
from typing import TypeVar

import torch

from dltool.device import is_out_of_memory
from dltool.errors import DeviceError

Result = TypeVar("Result")


def halve_until_it_fits(attempt: Callable[[int], Result], parts: int, most: int, advice: str) -> tuple[Result, int]:
    """Return `attempt(parts)`, with `parts` doubled each time memory runs out, and the `parts` that fitted.

    Args:
        attempt: does the work from its start in so many parts.
        most: the samples that there are; more parts than that there cannot be.

    Raises:
        DeviceError: one sample at a time is too much; the message ends with `advice`.
    """
    while True:
        try:
            return attempt(parts), parts
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if parts >= most:
                raise DeviceError(f"out of memory with one sample at a time; {advice}") from error
            parts *= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
