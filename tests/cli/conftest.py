"""What the tests of the command line spare: drawing the same charts again and again."""

from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image


@pytest.fixture
def real_charts() -> None:
    """Asked for by a test whose charts are looked at."""


@pytest.fixture(autouse=True)
def _blank_charts(request: pytest.FixtureRequest) -> Iterator[None]:
    """Charts of a test's own runs are blank, of the size that they would have; those of a module's shared runs are not.

    To lay a chart out and draw it takes matplotlib longer than all else that a tiny run does.
    """
    if "real_charts" in request.fixturenames:
        yield
        return

    def savefig(figure: Any, target: Any, **_: Any) -> None:
        size = (figure.get_size_inches() * figure.dpi).round().astype(int).tolist()
        Image.new("RGB", size, "white").save(target, "png", compress_level=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", savefig)
        yield
