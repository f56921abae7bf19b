"""The Python that the pages of the documentation show does what they say."""

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]


def python_blocks(page: Path) -> list[str]:
    """The blocks of a page that are marked as Python."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("page", "printed"),
    [
        ("docs/autoencoders.md", r"EpochEnd\(.* epoch=5,.*cat\.jpg 0\.\d+ tensor"),
        ("docs/clustering.md", r"^0\.[6-9]\d*\n(1\.0|0\.9\d*)\n$"),
        ("docs/denoising.md", r"\(\d+, \d+, 3\)"),
    ],
)
def test_the_pages_python_runs(
    page: str, printed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample_images").symlink_to(_ROOT / "sample_images")
    blocks = python_blocks(_ROOT / page)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), {})
    assert re.search(printed, capsys.readouterr().out, re.DOTALL)
