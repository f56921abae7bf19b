"""`dltool stylize` from its command line: files in, files out, and nothing lost on the way."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.run import files_in, process_words, run_inside, run_process, start_process

QUICK = ["--size", 64, "--steps", 3, "--threads", 1]


@pytest.fixture
def style(sample_images: Path) -> Path:
    return sample_images / "styles" / "night_swirls.jpg"


@pytest.fixture
def cat(sample_images: Path) -> Path:
    return sample_images / "photos" / "cat.jpg"


def _photos(folder: Path, cat: Path, names: list[str]) -> Path:
    """A folder with the cat under several names, turned a little so that no two are equal."""
    for index, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.open(cat).rotate(10 * index).save(path)
    return folder


def test_one_photo_and_its_json_document(tmp_path: Path, cat: Path, style: Path):
    done = run_process("stylize", cat, "-s", style, "-o", tmp_path / "out.png", "--json", *QUICK)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["command"] == "stylize"
    assert document["device"] == "cpu" or document["device"].startswith(("cuda", "mps"))
    assert document["counts"] == {"done": 1, "skipped": 0, "failed": 0}
    assert document["settings"]["size"] == 64
    (item,) = document["items"]
    assert item["output"] == str(tmp_path / "out.png")
    assert item["status"] == "done"
    assert item["error"] is None
    assert item["size"] == [64, 43]
    assert item["steps"] == 3
    assert item["seconds"] > 0
    assert 0 < item["content_loss"] < 5
    assert 0 < item["style_loss"] < 5
    assert Image.open(tmp_path / "out.png").size == (64, 43)


def test_a_mixed_folder_gives_every_good_image_upright_and_names_each_bad_one(tmp_path: Path, cat: Path, style: Path):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    photo = Image.open(cat).resize((120, 80))
    grey = np.asarray(photo.convert("L"))
    photo.save(folder / "a.jpg")
    photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "sub" / "a.jpg")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "deep.png")
    photo.convert("CMYK").save(folder / "print.jpg")
    clear = photo.convert("RGBA")
    clear.putalpha(Image.fromarray(np.tile(np.linspace(0, 255, 120).astype(np.uint8), (80, 1))))
    clear.save(folder / "clear.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=exif, quality=95)
    data = (folder / "a.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(data[: len(data) // 2])
    (folder / "text.jpg").write_text("hello")

    result = run_inside(
        "stylize", folder, "-s", style, "-o", tmp_path / "out", "--json", "--init", "content", "--style-weight", 0,
        "--content-weight", 1, "--no-page", *QUICK,
    )  # fmt: skip
    assert result.exit_code == 1, result.stderr
    document = json.loads(result.stdout)
    assert document["counts"] == {"done": 6, "skipped": 0, "failed": 2}
    failed = {Path(item["input"]).name: item["error"] for item in document["items"] if item["status"] == "failed"}
    assert "truncated" in failed["half.jpg"]
    assert "not a picture" in failed["text.jpg"]
    assert "half.jpg" in result.stderr
    assert "text.jpg" in result.stderr
    outputs = sorted(files_in(tmp_path / "out"))
    assert outputs == ["a.png", "clear.png", "deep.png", "print.png", "sub/a.png", "turned.png"]

    def pixels(name: str) -> np.ndarray:
        return np.asarray(Image.open(tmp_path / "out" / name).convert("RGB"), np.float32)

    expected = np.asarray(photo.resize((64, 43), Image.Resampling.LANCZOS), np.float32)
    for name in ("a.png", "turned.png", "print.png"):
        assert np.abs(pixels(name) - expected).mean() < 8, name
    assert np.abs(pixels("sub/a.png")[:, ::-1] - expected).mean() < 8
    assert np.abs(pixels("deep.png") - expected.mean(2, keepdims=True)).mean() < 14
    alpha = np.asarray(Image.open(tmp_path / "out" / "clear.png"))[..., 3]
    assert alpha[20, 3] < 30
    assert alpha[20, 60] > 225


def test_all_images_broken_is_a_data_error(tmp_path: Path, style: Path):
    (tmp_path / "text.jpg").write_text("hello")
    result = run_inside("stylize", tmp_path / "text.jpg", "-s", style, "-o", tmp_path / "out", *QUICK)
    assert result.exit_code == 3
    assert "text.jpg: not a picture" in result.stderr


def test_a_image_that_the_network_cannot_take_fails_alone(tmp_path: Path, cat: Path, style: Path):
    folder = _photos(tmp_path / "in", cat, ["1.jpg", "3.jpg"])
    Image.new("RGB", (1, 2000), (90, 10, 10)).save(folder / "2.png")
    words = ["--backbone", "alexnet", "--weights", "none", "--json", *QUICK, "--size", 128, "--scales", 1]
    result = run_inside("stylize", folder, "-s", style, "-o", tmp_path / "out", *words)
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert [item["status"] for item in document["items"]] == ["done", "failed", "done"]
    assert "2.png: the network does not take it at 1 x 128 pixels" in document["items"][1]["error"]


def test_the_painting_is_never_written_over(tmp_path: Path, cat: Path):
    painting = tmp_path / "cat.png"
    Image.new("RGB", (50, 50), (200, 0, 0)).save(painting)
    before = painting.read_bytes()
    result = run_inside("stylize", cat, "-s", painting, "-o", tmp_path, "--overwrite", *QUICK)
    assert result.exit_code == 2
    assert "would overwrite an input" in result.stderr
    assert painting.read_bytes() == before


def test_same_seed_same_bytes(tmp_path: Path, cat: Path, style: Path):
    words = ["stylize", cat, "-s", style, "--init", "noise", "--seed", 5, *QUICK]
    for name in ("one.png", "two.png"):
        assert run_inside(*words, "-o", tmp_path / name).exit_code == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_existing_outputs_are_kept_replaced_or_refused(tmp_path: Path, cat: Path, style: Path):
    folder = _photos(tmp_path / "in", cat, ["1.jpg", "2.jpg"])
    out = tmp_path / "out"
    out.mkdir()
    (out / "1.png").write_bytes(b"mine")
    words = ["stylize", folder, "-s", style, "-o", out, *QUICK]
    refused = run_inside(*words)
    assert (refused.exit_code, sorted(files_in(out))) == (2, ["1.png"])
    assert "1.png: output exists; give --overwrite or --skip-existing" in refused.stderr
    skipped = run_inside(*words, "--skip-existing", "--json")
    assert json.loads(skipped.stdout)["counts"] == {"done": 1, "skipped": 1, "failed": 0}
    assert (out / "1.png").read_bytes() == b"mine"
    again = run_inside(*words, "--skip-existing", "--json")
    assert json.loads(again.stdout)["counts"] == {"done": 0, "skipped": 2, "failed": 0}
    refused = run_inside(*words, "--overwrite")
    assert refused.exit_code == 2 and "1.png: dltool did not write this file" in refused.stderr
    assert (out / "1.png").read_bytes() == b"mine"
    (out / "1.png").unlink()
    older = (out / "2.png").stat().st_ino
    assert run_inside(*words, "--overwrite").exit_code == 0
    assert Image.open(out / "1.png").size == (64, 43) and (out / "2.png").stat().st_ino != older


def test_dry_run_does_nothing(tmp_path: Path, cat: Path, style: Path):
    result = run_inside("stylize", cat, "-s", style, "-o", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout == f"{cat} -> {tmp_path / 'out' / 'cat.png'} (planned)\n"
    assert list(tmp_path.iterdir()) == []


def test_killed_in_the_middle_and_run_again_ends_with_the_same_files(tmp_path: Path, cat: Path, style: Path):
    folder = _photos(tmp_path / "in", cat, [f"{index}.jpg" for index in range(5)])
    words = ["stylize", folder, "-s", style, "--size", 64, "--steps", 40, "--threads", 1, "--no-page"]
    assert run_inside(*words, "-o", tmp_path / "whole").exit_code == 0
    process = start_process(*words, "-o", tmp_path / "cut")
    _wait_for(lambda: len(list((tmp_path / "cut").glob("*.png"))) >= 2)
    process.kill()
    process.communicate()
    seen = files_in(tmp_path / "cut")
    whole = files_in(tmp_path / "whole")
    assert 2 <= len(seen) < 5
    assert all(whole[name] == content for name, content in seen.items() if not name.startswith("."))
    assert run_inside(*words, "-o", tmp_path / "cut", "--skip-existing").exit_code == 0
    assert files_in(tmp_path / "cut") == whole


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_keep_finished_images(tmp_path: Path, cat: Path, style: Path, number: int, code: int):
    folder = _photos(tmp_path / "in", cat, [f"{index}.jpg" for index in range(4)])
    process = start_process(
        *("stylize", folder, "-s", style, "-o", tmp_path / "out", "--json"),
        *("--size", 64, "--steps", 80, "--threads", 1),
    )
    _wait_for(lambda: list((tmp_path / "out").glob("*.png")))
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == code
    document = json.loads(output)
    assert document["error"] == "interrupted"
    assert "--skip-existing goes on from here" in errors
    assert "Traceback" not in errors
    done = files_in(tmp_path / "out")
    assert 1 <= len(done) < 4
    assert len(done) == document["counts"]["done"]
    for name in done:
        Image.open(tmp_path / "out" / name).load()


def test_a_log_has_plain_lines_and_a_terminal_a_bar_that_fits(tmp_path: Path, cat: Path, style: Path):
    pty = pytest.importorskip("pty", reason="needs a system with pseudo-terminals")
    words = process_words("stylize", cat, "-s", style, "-o", tmp_path / "a.png", "--size", 64, "--steps", 40)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
        os.execv(words[0], words)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 65536)
        except OSError:
            break
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    text = shown.decode()
    assert "cat.jpg" in text
    assert "/40" in text
    assert "style" in text
    log = run_process(*words[3:7], "-o", tmp_path / "b.png", *QUICK)
    assert log.returncode == 0 and "\x1b" not in log.stdout + log.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--backbone", "resnet5O", "--weights", "none"], 2, "did you mean 'resnet50'"),
        (["--content-layers", "nope"], 2, "--content-layers nope: no such layer; the network has conv_stem"),
        (["--content-layers", "nope"], 2, "; the default is blocks.2.1; `dltool featmap --list-layers` lists them all"),
        (["--style-layers", "blocks.9"], 2, "did you mean 'blocks."),
        (["--style-layers", "blocks.9"], 2, "the default is bn1,blocks.0.0,blocks.1.0,"),
        (["--device", "cuda:77"], 5, "not on this machine; available:"),
        (["--backbone", "resnet18"], 4, "--weights default: resnet18's weights cannot be fetched"),
        (["--weights", "missing.pth"], 4, "--weights missing.pth: no such file"),
        (["--init", "missing.png"], 2, "--init missing.png: neither a picture file nor one of colors, content"),
        (["--time", "soon"], 2, "--time soon: not a duration"),
        (["--threads", "0"], 2, "--threads"),
        (["--content-weight", "nan"], 2, "--content-weight nan: at least 0 is needed"),
    ],
)
def test_wrong_options_are_one_line_with_the_right_exit_code(
    tmp_path: Path, cat: Path, style: Path, words: list[str], code: int, message: str
):
    result = run_inside("stylize", cat, "-s", style, "-o", tmp_path / "out.png", *words)
    assert result.exit_code == code, result.stderr
    assert message in result.stderr
    assert result.stderr.count("\n") <= 2
    assert not (tmp_path / "out.png").exists()


def test_any_backbone_works_untrained(tmp_path: Path, cat: Path, style: Path):
    words = ["--backbone", "resnet18", "--weights", "none", "-o", tmp_path / "out.png"]
    result = run_inside("stylize", cat, "-s", style, *words, *QUICK)
    assert result.exit_code == 0, result.stderr
    assert Image.open(tmp_path / "out.png").size == (64, 43)


@pytest.mark.test_data
def test_vgg16_with_half_precision_convolutions_from_a_file(tmp_path: Path, cat: Path, style: Path, test_data: Path):
    weights = test_data / "weights" / "vgg16_features_imagenet_fp16.safetensors"
    words = ["--backbone", "vgg16", "--weights", weights, "--content-layers", "relu4_1", "-o", tmp_path / "out.png"]
    result = run_inside("stylize", cat, "-s", style, *words, "--json", *QUICK)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["settings"]["style_layers"][0] == "relu1_1"


def _wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.005)


def test_images_that_go_together_are_shown_and_reported_like_others(
    tmp_path: Path, cat: Path, style: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("dltool.stylize.files.images_together", lambda *_: 3)
    monkeypatch.setattr("dltool.cli.console._LOG_SECONDS", 0.0)
    folder = _photos(tmp_path / "in", cat, [f"{index}.jpg" for index in range(4)])
    result = run_inside("stylize", folder, "-s", style, "-o", tmp_path / "out", "--json", *QUICK)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert [Path(item["output"]).name for item in document["items"]] == ["0.png", "1.png", "2.png", "3.png"]
    assert all(item["steps"] == 3 for item in document["items"])
    assert sum(item["seconds"] for item in document["items"]) < document["seconds"], "each has its share of the time"
    shown = [line for line in result.stderr.splitlines() if "content" in line]
    assert [line.partition(" content")[0] for line in shown] == [
        *(f"1-3/4 2: {step}/3" for step in (1, 2, 3)),
        *(f"4/4 3: {step}/3" for step in (1, 2, 3)),
    ]
