"""A folder of all that can go wrong: each good image is done, each bad one named once, and no line runs wild."""

import json
import os
import shutil
import socket
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dltool.training.model_file import save_model
from tests.cli.run import run_inside
from tests.cli.test_predict import small_model

_GOOD = (b"a/good.jpg", b"a/b\xff.jpg", b"a/a\nb\x1b[31m.jpg", b"b/" + b"n" * 246 + b".jpg", b"b/=cmd.jpg")


@pytest.fixture
def odd(tmp_path: Path, sample_images: Path) -> tuple[Path, set[str], set[str]]:
    """The folder, with two classes; the names of its good files and of its bad ones."""
    folder = tmp_path / "odd"
    for name in "ab":
        (folder / name).mkdir(parents=True)
    photo = tmp_path / "photo.jpg"
    image = Image.open(sample_images / "photos" / "cat.jpg").resize((48, 40))
    image.save(photo)
    for number, name in enumerate(_GOOD):
        image.rotate(number).save(photo)
        shutil.copy(photo, folder / os.fsdecode(name))
    Image.new("L", (3000, 1), 90).save(folder / "a" / "long.png")
    height = np.add.outer(np.arange(40.0), np.arange(48)).astype(np.float32)
    height[:9] = -9999
    Image.fromarray(height).save(folder / "b" / "height.tif")
    good = {path.name for path in folder.rglob("*.*")}
    _spoil(folder / "a", photo.read_bytes())
    _link_and_plug(folder / "b")
    return folder, good, {path.name for path in folder.rglob("*.*")} - good


def _spoil(folder: Path, photo: bytes) -> None:
    """Files that hold no whole image."""
    (folder / "half.jpg").write_bytes(photo[: len(photo) // 2])
    (folder / "empty.png").touch()
    (folder / "text.webp").write_text("no picture")
    (folder / "ps.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n")
    Image.new("RGB", (40, 30)).save(folder / "bomb.png")
    header = b"IHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    content = (folder / "bomb.png").read_bytes()
    content = content[:12] + header + zlib.crc32(header).to_bytes(4, "big") + content[33:]
    (folder / "bomb.png").write_bytes(content)
    for suffix in ("tif", "gif"):
        Image.new("L", (40, 30), 7).save(folder / f"cut.{suffix}")
        whole = (folder / f"cut.{suffix}").read_bytes()
        (folder / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])


def _link_and_plug(folder: Path) -> None:
    """What is no file at all."""
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as plug:
        os.chdir(folder)  # the path of a socket must be short
        plug.bind("socket.png")
        os.chdir(here)


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "m.safetensors", "--sort", "out"),
        ("stylize", "-s", "photo.jpg", "--size", "64", "--steps", "2", "-o", "out", "--no-page"),
        ("ae", "denoise", "-o", "out"),
        ("featmap", "--channels", "1", "--layer", "blocks.1.0", "-o", "out", "--no-page"),
        ("cluster", "-k", "2", "--features", "pixels", "-o", "out", "--no-page"),
        ("finetune", "--backbone", "cnn", "--size", "32", "--epochs", "1", "-o", "out", "--no-page"),
    ],
    ids=lambda words: words[0],
)
def test_one_file_never_stops_the_rest(
    odd: tuple[Path, set[str], set[str]], tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    folder, good, bad = odd
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "m.safetensors", small_model())
    command = 2 if words[0] in ("ae", "predict") else 1
    result = run_inside(*words[:command], folder, *words[command:], "--device", "cpu", "--json")
    assert result.exit_code == 1, result.stderr
    document = json.loads(result.stdout)
    if "items" in document:
        items = {Path(item["input"]).name: item["status"] for item in document["items"]}
        assert {name for name, status in items.items() if status == "failed"} == bad
        assert {name for name, status in items.items() if status == "done"} == good
        assert document["counts"] == {"done": len(good), "skipped": 0, "failed": len(bad)}
    else:
        named = {name for name in bad if any(f"/{name}: " in text for text in document["unreadable"])}
        assert (named, len(document["unreadable"])) == (bad, len(bad))
        assert document.get("count", sum(document.get("counts", {}).values())) == len(good)
    assert "Traceback" not in result.stderr and "\x1b" not in result.stderr
    if words[0] in ("stylize", "ae", "featmap"):
        for name in bad:
            assert sum(f"{name}: " in line for line in result.stderr.splitlines()) == 1, name


@pytest.mark.parametrize(
    "words",
    [
        ("cluster", "--duplicates", "-o", "out"),
        ("cluster", "-k", "2", "--features", "pixels", "-o", "out", "--no-page"),
        ("finetune", "--backbone", "cnn", "--size", "32", "--epochs", "1", "-o", "out", "--no-page"),
    ],
    ids=" ".join,
)
def test_quiet_names_what_is_left_out(
    odd: tuple[Path, set[str], set[str]], tmp_path: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    folder, _, bad = odd
    kept = ("half.jpg", "loop.png")
    for path in folder.rglob("*.*"):
        if path.name in bad and path.name not in kept:
            path.unlink()
    monkeypatch.chdir(tmp_path)
    result = run_inside(words[0], folder, *words[1:], "--quiet")
    lines = result.stderr.splitlines()
    assert (result.exit_code, result.stdout, len(lines)) == (1, "", 2), result.stderr
    assert all(
        any("dltool: left out: " in line and name in line for line in lines) for name in ("half.jpg", "loop.png")
    )
