"""No loop waits for a card, and none hands it many small kernels where few would do: counted, not timed."""

import pytest

from tests.pretend.loops import LOOPS

# The most of kernels, waits and copies that a step may take.
_MOST = {
    "stylize, Lite0": (480, 1, 0),
    "stylize, two masks": (740, 1, 0),
    "stylize, three together": (520, 1, 0),
    "finetune full": (1607, 0, 0),
    "ae, U-Net": (300, 0, 0),
    "gan": (400, 0, 0),
    "k-means iteration": (30, 1, 0),
    "denoise tile": (47, 0.125, 0),
}


@pytest.mark.parametrize("loop", list(LOOPS))
def test_a_step_takes_no_more_than(loop: str):
    kernels, waits, copies = LOOPS[loop]()
    assert 0 < kernels <= _MOST[loop][0]
    assert waits <= _MOST[loop][1]
    assert copies <= _MOST[loop][2]
