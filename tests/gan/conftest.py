"""What all tests of GANs share: quality figures of a few samples."""

import pytest

from dltool.gan import loop


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure from 128 samples is rough but quick."""
    monkeypatch.setattr(loop, "_MEASURED", 128)
