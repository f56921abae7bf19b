"""Moving images from the command line: times, repeats and transparency come out as they went in."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dltool.images.animation import Animation, write_animation
from dltool.images.read import DecodedImage, read_frames
from dltool.stylize.files import read_photo
from tests.cli.run import files_in, run_inside

QUICK = ["--size", 48, "--steps", 2, "--threads", 1]
TIMES = (100, 100, 400, 100, 700)


@pytest.fixture
def photo(sample_images: Path) -> np.ndarray:
    return np.asarray(Image.open(sample_images / "photos" / "cat.jpg").resize((48, 32)))


@pytest.fixture
def style(sample_images: Path, tmp_path: Path) -> Path:
    Image.open(sample_images / "styles" / "bold_shapes.jpg").resize((60, 48)).save(tmp_path / "style.png")
    return tmp_path / "style.png"


@pytest.mark.parametrize(("suffix", "output"), [(".gif", "."), (".webp", "."), (".png", "."), (".gif", "a.webp")])
def test_an_animation_keeps_its_times_its_loop_and_its_transparency(
    tmp_path: Path, photo: np.ndarray, style: Path, suffix: str, output: str
):
    alpha = np.zeros((32, 48), np.uint8)
    alpha[4:28, 8:40] = 255
    frames, alphas = ([np.roll(each, 2 * index, 1) for index in range(5)] for each in (photo, alpha))
    source = tmp_path / f"in{suffix}"
    write_animation(source, Animation(frames, alphas, TIMES, 3))
    result = run_inside("stylize", source, "-s", style, "--frames", *QUICK, "-o", tmp_path / "out" / output)
    assert result.exit_code == 0, result.stderr
    out = tmp_path / "out" / (source.name if output == "." else output)
    assert Image.open(out).format == {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}[out.suffix]
    read, _ = read_frames(out)
    assert (read.milliseconds, read.loop) == (TIMES, 3)
    for frame, given, wanted in zip(read.with_alpha(), frames, alphas, strict=True):
        assert np.array_equal(frame.alpha, wanted)
        assert np.abs(frame.pixels.astype(int) - given)[wanted > 0].mean() > 8, "painted"


def test_of_an_animation_without_frames_the_first_is_taken_and_a_line_says_so(
    tmp_path: Path, photo: np.ndarray, style: Path
):
    source = tmp_path / "in.gif"
    write_animation(source, Animation([photo, photo[::-1]], [None, None], (100, 100)))
    painted = run_inside("stylize", source, "-s", style, "-o", tmp_path / "a.png", *QUICK)
    assert "only the first of its frames" in painted.stdout
    cleaned = run_inside("ae", "denoise", source, "-o", tmp_path / "b.png", "--threads", 1)
    assert "only the first of its frames" in cleaned.stdout


def test_a_folder_of_frames_keeps_its_transparency_and_goes_on_equally(tmp_path: Path, photo: np.ndarray, style: Path):
    alpha = np.uint8(255) * (np.add.outer(np.arange(32), np.arange(48)) > 25)
    (tmp_path / "frames").mkdir()
    for index in range(3):
        frame = np.roll(np.dstack([photo, alpha]), 2 * index, 1)
        Image.fromarray(frame).save(tmp_path / "frames" / f"{index}.png")
    words = ["stylize", tmp_path / "frames", "-s", style, "--frames", "-o", tmp_path / "out", *QUICK]
    assert run_inside(*words).exit_code == 0
    for index in range(3):
        alphas = [np.asarray(Image.open(tmp_path / name / f"{index}.png"))[..., 3] for name in ("frames", "out")]
        assert np.array_equal(*alphas)
    whole = files_in(tmp_path / "out")
    (tmp_path / "out" / "2.png").unlink()
    assert run_inside(*words, "--skip-existing").exit_code == 0
    assert files_in(tmp_path / "out") == whole


def test_frames_are_read_one_by_one_and_one_that_cannot_be_read_fails_alone(
    tmp_path: Path, photo: np.ndarray, style: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "frames").mkdir()
    for index in (0, 1, 3):
        Image.fromarray(np.roll(photo, 2 * index, 1)).save(tmp_path / "frames" / f"{index}.png")
    (tmp_path / "frames" / "2.png").write_bytes(b"no picture")
    there = []

    def read(path: Path, size: int | None) -> DecodedImage:
        there.append(sorted(path.name for path in (tmp_path / "out").glob("*.png")))
        return read_photo(path, size)

    monkeypatch.setattr("dltool.stylize.files_frames.read_photo", read)
    words = ["stylize", tmp_path / "frames", "-s", style, "--frames", "-o", tmp_path / "out", *QUICK, "--json"]
    result = run_inside(*words)
    assert result.exit_code == 1, result.stderr
    assert [item["status"] for item in json.loads(result.stdout)["items"]] == ["done", "done", "failed", "done"]
    assert there == [[], ["0.png"], ["0.png", "1.png"], ["0.png", "1.png"]]


@pytest.mark.parametrize("special", ["--frames", "--grid"])
def test_frames_and_a_grid_start_from_the_image_of_init(tmp_path: Path, photo: np.ndarray, style: Path, special: str):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "a.png")
    outs = []
    for colour in ("black", "white"):
        Image.new("RGB", (30, 20), colour).save(tmp_path / f"{colour}.png")
        given = ("-s", style, special, "--init", tmp_path / f"{colour}.png", "--steps", 1, "--size", 48)
        result = run_inside("stylize", folder, *given, "--threads", 1, "-o", tmp_path / colour)
        assert result.exit_code == 0, result.stderr
        outs.append(np.asarray(Image.open(tmp_path / colour / "a.png").convert("RGB")).mean())
    assert outs[1] > outs[0] + 10
