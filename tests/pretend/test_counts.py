"""No loop waits for a card, and none hands it many small kernels where few would do: counted, not timed."""

import pytest

from tests.pretend.loops import LOOPS

# The most of kernels, waits and copies that a step may take.
_MOST = {
    "stylize, Lite0": (560, 1, 0),
    "stylize, two masks": (800, 1, 0),
    "stylize, three together": (600, 1, 0),
    "finetune full": (640, 0, 0),
    "ae, U-Net": (300, 0, 0),
    "gan": (500, 0, 0),
    "k-means iteration": (36, 1, 0),
    "denoise tile": (20, 0.25, 0),
}


@pytest.mark.parametrize("loop", list(LOOPS))
def test_a_step_takes_no_more_than(loop: str):
    kernels, waits, copies = LOOPS[loop]()
    assert 0 < kernels <= _MOST[loop][0]
    assert waits <= _MOST[loop][1]
    assert copies <= _MOST[loop][2]
