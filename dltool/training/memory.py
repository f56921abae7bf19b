"""Going on with less memory: the same batch in more, smaller parts."""

from collections.abc import Callable
from typing import TypeVar

import torch

from dltool.device import is_out_of_memory
from dltool.errors import DeviceError
from dltool.training import distributed

Result = TypeVar("Result")


def halve_until_it_fits(attempt: Callable[[int], Result], parts: int, most: int, advice: str) -> tuple[Result, int]:
    """Return `attempt(parts)`, with `parts` doubled each time memory runs out, and the `parts` that fitted.

    Under torchrun a lack of memory in one process makes all of them try again, in equally many parts.

    Args:
        attempt: does the work from its start in so many parts. It must not talk to other processes: one that fails
            leaves it early.
        parts, most: the same in every process; `most` are the samples that there are, so that more parts cannot be.

    Raises:
        DeviceError: one sample at a time is too much; the message ends with `advice`.
    """
    while True:
        failure: BaseException | None = None
        try:
            result = attempt(parts)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            failure = error.with_traceback(None)  # a traceback keeps the tensors of the failed attempt
        if not distributed.any_rank(failure is not None):
            return result, parts
        if parts >= most:
            raise DeviceError(f"out of memory with one sample at a time; {advice}") from failure
        parts *= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
