"""What the pretend card is asked to do: kernels, waits and copies, with the places in dltool that ask."""

import sys
from collections import Counter
from dataclasses import dataclass, field

import torch


@dataclass
class Counts:
    """Counts since the last `reset`.

    Attributes:
        kernels: operations that a card is handed, about one kernel each.
        waits: times that the host waits for the card: a number is read, a tensor fetched, a shape asked for.
        copies: host to card out of pageable memory, which the host waits for as well.
        streamed: copies either way that the host does not wait for.
        places: of waits and copies, by what and where.
        exhausted: how often the memory was found full.
        backward_pass: the last one that worked on the card.
    """

    kernels: int = 0
    waits: int = 0
    copies: int = 0
    streamed: int = 0
    places: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    autocast: Counter[torch.dtype] = field(default_factory=Counter)
    exhausted: int = 0
    backward_pass: int = -2
    _generators: list[torch.Generator] = field(default_factory=list)
    _until: int = 0
    _only_backward: bool = True

    def reset(self) -> None:
        """Begin anew."""
        self.kernels = self.waits = self.copies = self.streamed = 0
        for counter in (self.places, self.operations, self.autocast):
            counter.clear()

    def step(self) -> tuple[int, int, int]:
        """Kernels, waits and copies so far."""
        return self.kernels, self.waits, self.copies

    def exhaust(self, number: int, only_backward: bool = True) -> None:
        """Let the memory run out, once, at the allocation of this number from now on."""
        self._until, self._only_backward = number, only_backward

    def kernel(self, name: str) -> None:
        """An operation is handed to the card, and memory is taken for its result."""
        self.kernels += 1
        self.operations[name] += 1
        if self._until and (not self._only_backward or torch._C._current_graph_task_id() != -1):
            self._until -= 1
            if self._until == 0:
                self.exhausted += 1
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of 80")

    def wait(self, what: str) -> None:
        """The host waits for all that the card was handed."""
        self.waits += 1
        self.places[f"wait {what} {_place()}"] += 1

    def copy(self, what: str) -> None:
        """The host sends memory that the card cannot read by itself."""
        self.copies += 1
        self.places[f"copy {what} {_place()}"] += 1

    def send(self, streamed: bool) -> None:
        """A tensor goes to the card."""
        if streamed:
            self.streamed += 1
        else:
            self.copy("to the card")

    def fetch(self, streamed: bool) -> None:
        """A tensor comes from the card."""
        if streamed:
            self.streamed += 1
        else:
            self.wait("fetch")

    def own(self, generator: torch.Generator) -> None:
        """Take a generator for one of the card's; it is kept, so that no other gets its address."""
        self._generators.append(generator)

    def owns(self, generator: torch.Generator) -> bool:
        """Whether it is one of the card's; torch hands it around in ever new objects."""
        return any(generator._cdata == own._cdata for own in reversed(self._generators))


def _place() -> str:
    """Where in dltool this was asked for: the innermost two lines."""
    lines: list[str] = []
    frame = sys._getframe(1)
    while frame is not None and len(lines) < 2:
        name = frame.f_code.co_filename.replace("\\", "/")
        if "/dltool/" in name and "site-packages" not in name:
            lines.append(f"{name.rpartition('/dltool/')[2]}:{frame.f_lineno}")
        frame = frame.f_back  # type: ignore[assignment]
    return " < ".join(lines) or "?"
