"""Randomness as a function of (seed, epoch, sample): no generator has a history that a resumed run would lack."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(*parts: int | str) -> int:
    """Return a number below 2^63 that depends on all parts and on nothing else, on every machine."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def new_generator(*parts: int | str) -> torch.Generator:
    """A CPU generator of torch seeded with `derive_seed(*parts)`."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def numpy_generator(*parts: int | str) -> np.random.Generator:
    """A generator of numpy seeded with `derive_seed(*parts)`."""
    return np.random.default_rng(derive_seed(*parts))


def seed_step(*parts: int | str) -> None:
    """Seed torch's own generators, which dropout draws from, for one step."""
    torch.manual_seed(derive_seed(*parts))


@contextmanager
def seeded(*parts: int | str) -> Iterator[None]:
    """Draw new weights in this context from the seed, and leave torch's CPU generator as it was."""
    with torch.random.fork_rng(devices=[]):
        seed_step(*parts)
        yield


def epoch_order(count: int, seed: int, epoch: int, weights: np.ndarray | None = None) -> np.ndarray:
    """Order of `count` samples in an epoch: a permutation, or as many draws with replacement by `weights`."""
    random = numpy_generator(seed, "order", epoch)
    if weights is None:
        return random.permutation(count)
    return random.choice(count, count, p=weights / weights.sum())
