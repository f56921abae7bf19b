"""A computation on a GPU that is recorded once as a CUDA graph and from then on started as a whole.

A small image's evaluation is some hundred kernels, which a fast card computes in less time than it takes to hand them
over one by one.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Results = tuple[Tensor, ...]
Compute = Callable[[Tensor], Results]

_PLAIN_CALLS = 3  # before it is recorded: libraries choose and prepare their kernels then
_AGREEMENT = 1e-2  # of the norm; the same kernels may add in another order


class Recorded:
    """Does a computation from a recording where that can be made and gives the same, else plainly.

    The computation takes one tensor, always of one shape, and must not wait for the device nor depend on anything else
    that changes. What it keeps of memory goes with this object.
    """

    def __init__(self, record: Callable[[Compute, Tensor], Compute] | None = None) -> None:
        """`record` makes the recording, given an example; it raises RuntimeError where that cannot be done."""
        self._record = record or cuda_graph
        self._replay: Compute | None = None
        self._calls = 0

    def __call__(self, compute: Compute, values: Tensor) -> Results:
        """Do `compute`, the same at every call, on `values`; the results are the caller's own."""
        if self._replay is not None:
            return self._replay(values)
        results = compute(values)
        self._calls += 1
        if self._calls == _PLAIN_CALLS and values.device.type == "cuda":
            self._try_to_record(compute, values, results)
        return results

    def _try_to_record(self, compute: Compute, values: Tensor, results: Results) -> None:
        try:
            replay = self._record(compute, values)
            found = replay(values)
        except RuntimeError:  # what the network does cannot be recorded, or the memory does not hold it twice
            return
        if all((a - b).norm() <= _AGREEMENT * b.norm() for a, b in zip(found, results, strict=True)):
            self._replay = replay


def cuda_graph(compute: Compute, example: Tensor) -> Compute:
    """Record `compute` at work on a tensor like `example`.

    Raises:
        RuntimeError: the card, its driver or the computation does not allow it.
    """
    given = example.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = compute(given)

    def replay(values: Tensor) -> Results:
        given.copy_(values)
        graph.replay()
        return tuple(result.clone() for result in results)

    return replay
