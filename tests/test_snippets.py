"""The Python that the pages of the documentation show does what they say."""

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]


PAGES = ("README.md", "docs/autoencoders.md", "docs/clustering.md", "docs/denoising.md")


def python_blocks(page: str) -> list[str]:
    """The blocks of a page that are marked as Python."""
    text = (_ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


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
    _run(python_blocks(page), page, tmp_path, monkeypatch)
    assert re.search(printed, capsys.readouterr().out, re.DOTALL)


def test_the_readmes_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    restyle, explain = python_blocks("README.md")
    assert restyle.count("512") == 1
    _run([restyle.replace("512", "96"), explain], "README.md", tmp_path, monkeypatch)
    *steps, shape = capsys.readouterr().out.splitlines()
    losses = [float(line.split()[1]) for line in steps]
    assert len(losses) > 20 and losses[-1] < losses[0] / 2
    assert shape == "(224, 224)"


def _run(blocks: list[str], page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the blocks of a page one by one, where the sample images are below the working folder."""
    monkeypatch.chdir(folder)
    (folder / "sample_images").symlink_to(_ROOT / "sample_images")
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), {})
