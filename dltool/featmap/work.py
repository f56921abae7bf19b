"""Long calculations that tell how far they are: generators of (done, total) that return their result."""

from collections.abc import Generator

from torch import Tensor

Work = Generator[tuple[int, int], None, Tensor]
"""Yields how many of how many passes are done, returns a tensor."""
