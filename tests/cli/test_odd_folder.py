"""A folder of all that can go wrong: each good image is done, each bad one named once, and no line runs wild."""

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.run import run_inside

_GOOD = (b"good.jpg", b"b\xff.jpg", b"a\nb\x1b[31m.jpg", b"n" * 246 + b".jpg", b"=cmd.jpg")
_BAD = ("empty.png", "gone.png", "half.jpg", "loop.png", "pipe.png", "ps.jpg", "zero.png")


@pytest.fixture
def odd(tmp_path: Path, sample_images: Path) -> Path:
    folder = tmp_path / "odd"
    folder.mkdir()
    photo = tmp_path / "photo.jpg"
    Image.open(sample_images / "photos" / "cat.jpg").resize((48, 40)).save(photo)
    for name in _GOOD:
        shutil.copy(photo, folder / os.fsdecode(name))
    Image.new("L", (3000, 1), 90).save(folder / "long.png")
    (folder / "half.jpg").write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    (folder / "empty.png").touch()
    (folder / "ps.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    return folder


@pytest.mark.parametrize("words", [("ae", "denoise"), ("featmap", "--channels", "1")])
def test_one_file_never_stops_the_rest(odd: Path, tmp_path: Path, words: tuple[str, ...]):
    result = run_inside(*words, odd, "-o", tmp_path / "out", "--device", "cpu", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    items = {Path(item["input"]).name: item["status"] for item in document["items"]}
    assert {name for name, status in items.items() if status == "failed"} == set(_BAD)
    assert {name for name, status in items.items() if status == "done"} == {*map(os.fsdecode, _GOOD), "long.png"}
    assert document["counts"] == {"done": 6, "skipped": 0, "failed": 7}
    assert "Traceback" not in result.stderr and "\x1b" not in result.stderr
    for name in _BAD:
        assert sum(f"{name}: " in line for line in result.stderr.splitlines()) == 1
