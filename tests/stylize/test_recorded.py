"""A recording is used where it can be made and gives the same, and nowhere else."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dltool.stylize.recorded import Compute, Recorded
from tests.pretend.card import CUDA, pretend_card


def _double(values: Tensor) -> tuple[Tensor]:
    return (2 * values,)


def _cannot(compute: Compute, example: Tensor) -> Compute:
    raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.parametrize(
    ("record", "recordings_used"),
    [
        (lambda compute, example: lambda values: (values + values,), 3),
        (lambda compute, example: lambda values: (3 * values,), 0),
        (_cannot, 0),
    ],
    ids=["the same", "something else", "impossible"],
)
def test_on_a_card_the_fourth_call_may_be_a_recording(record: Callable, recordings_used: int):
    plain = 0

    def compute(values: Tensor) -> tuple[Tensor]:
        nonlocal plain
        plain += 1
        return _double(values)

    with pretend_card():
        recorded = Recorded(record)
        for number in range(6):
            (found,) = recorded(compute, torch.full((2, 2), float(number), device=CUDA))
            assert found.cpu().eq(2 * number).all()
    assert plain == 6 - recordings_used


def test_the_cpu_records_nothing():
    recorded = Recorded(_cannot)
    assert all(recorded(_double, torch.ones(2))[0].eq(2).all() for _ in range(5))
    assert recorded._replay is None
