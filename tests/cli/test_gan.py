"""`dltool gan train` and `gan sample` as a user types them; every misuse gets its line and exit code."""

import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dltool.gan import settings
from tests.cli.run import files_in, run_inside, start_process

FAST = ("--epochs", 2, "--width", 4, "--batch-size", 16, "--grid", 4, "--device", "cpu", "--workers", 0)


def refused(result, code: int, *texts: str) -> None:
    """The command left with `code` and one line on stderr that holds all texts."""
    assert result.exit_code == code, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("dltool: error:")]
    assert len(lines) == 1, result.stderr
    assert all(text in lines[0] for text in texts), lines[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "SHORTEST_EPOCH", 64)
        result = run_inside("gan", "train", "digits", "-o", folder, *FAST, "--limit", 9, "--conditional", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document == json.loads((folder / "results.json").read_text())
    assert document["command"] == "gan train"
    assert document["classes"] == list("0123456789")
    assert document["settings"]["arch"] == "modern" and document["settings"]["passes"] == 7
    assert document["epochs"] == 2 and document["metrics"] == {"epoch": 2}
    return folder


@pytest.fixture(scope="module")
def model(run: Path) -> Path:
    return run / "model.safetensors"


def test_a_dry_run_looks_and_writes_nothing(run: Path, tmp_path: Path) -> None:
    result = run_inside(
        *("gan", "train", "digits", "-o", tmp_path / "run", "--epochs", 2, "--device", "cpu"),
        *("--limit", 9, "--arch", "mlp", "--dry-run"),
    )
    assert result.exit_code == 0 and not (tmp_path / "run").exists()
    assert "9 grey pictures of 8x8 pixels" in result.stdout
    assert (run / "losses.png").is_file() and (run / "training.gif").is_file()


def test_same_seed_same_bytes(model: Path, tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        assert run_inside("gan", "sample", model, "-o", tmp_path / name, "--seeds", "0-5").exit_code == 0
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert run_inside("gan", "sample", model, "-o", tmp_path / "other.png", "--seeds", "6-11").exit_code == 0
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "other.png").read_bytes()


def test_files_by_seed_are_the_grids_images(model: Path, tmp_path: Path) -> None:
    result = run_inside(
        "gan", "sample", model, "-o", tmp_path / "files", "-n", 3, "--seed", 8, "--class", "3", "--json"
    )
    document = json.loads(result.stdout)
    assert [(item["seed"], item["class"]) for item in document["items"]] == [(8, "3"), (9, "3"), (10, "3")]
    assert document["counts"] == {"done": 3, "skipped": 0, "failed": 0}
    assert sorted(files_in(tmp_path / "files")) == ["seed08.png", "seed09.png", "seed10.png"]
    options = ("--seeds", "9", "--class", "3", "--scale", 1)
    assert run_inside("gan", "sample", model, "-o", tmp_path / "grid.png", *options).exit_code == 0
    with Image.open(tmp_path / "grid.png") as grid, Image.open(tmp_path / "files" / "seed09.png") as file:
        assert file.size == (8, 8)
        assert (np.asarray(grid)[2:10, -10:-2] == np.asarray(file)).all()
    again = run_inside(
        "gan", "sample", model, "-o", tmp_path / "files", "-n", 4, "--seed", 8, "--skip-existing", "--json"
    )
    assert json.loads(again.stdout)["counts"] == {"done": 1, "skipped": 3, "failed": 0}


def test_a_seed_alone_gives_the_image_of_the_grid(model: Path, tmp_path: Path) -> None:
    assert run_inside("gan", "sample", model, "-o", tmp_path / "grid.png", "--scale", 1).exit_code == 0
    assert run_inside("gan", "sample", model, "-o", tmp_path / "files", "--seeds", "15").exit_code == 0
    with Image.open(tmp_path / "grid.png") as grid, Image.open(tmp_path / "files" / "seed15.png") as file:
        left = grid.width - 7 * 10 - 2 + 12
        assert (np.asarray(grid)[52:60, left : left + 8] == np.asarray(file)).all()  # the second "5"


def test_grids_have_a_row_for_each_class(model: Path, tmp_path: Path) -> None:
    assert run_inside("gan", "sample", model.parent, "-o", tmp_path / "grid.png", "--scale", 1).exit_code == 0
    with Image.open(tmp_path / "grid.png") as grid:
        names = grid.width - (7 * 10 + 2)  # 70 images of 8 pixels with gaps of 2
        assert grid.height == 10 * 10 + 2 and 0 < names < 40
        assert (np.asarray(grid)[:, :names] < 128).any()


def test_a_walk_is_a_film(model: Path, tmp_path: Path) -> None:
    result = run_inside("gan", "sample", model, "-o", tmp_path / "walk.gif", "--interpolate", 3, "--frames", 12)
    assert result.exit_code == 0
    with Image.open(tmp_path / "walk.gif") as film:
        assert film.n_frames == 12 and film.size == (64, 64)


def test_misuse_of_sample(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    refused(run_inside("gan", "sample", tmp_path / "none.safetensors", "-o", out), 4, "none.safetensors")
    refused(run_inside("gan", "sample", model, "-o", tmp_path / "out.xyz"), 2, "out.xyz")
    refused(run_inside("gan", "sample", model, "-o", out, "--class", "ten"), 2, "--class ten", "the model knows")
    refused(run_inside("gan", "sample", model, "-o", out, "--class", ""), 2, "names no class")
    refused(run_inside("gan", "sample", model, "-o", out, "--seeds", "0-3", "-n", 2), 2, "--seeds")
    refused(run_inside("gan", "sample", model, "-o", out, "--interpolate", 4), 2, ".gif")
    refused(run_inside("gan", "sample", model, "-o", tmp_path / "files", "--columns", 3), 2, "--columns")
    walk = ("-o", tmp_path / "walk.gif", "--interpolate", 9, "--frames", 8)
    refused(run_inside("gan", "sample", model, *walk), 2, "--frames 8", "9 pictures")
    refused(run_inside("gan", "sample", model, "-o", out, "--seeds", "x"), 2, "--seeds x")
    out.write_bytes(b"mine")
    refused(run_inside("gan", "sample", model, "-o", out), 2, "out.png")
    assert out.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--arch", "mlp", "--width", 8), "--width: has no effect with --arch mlp"),
        (("--arch", "dcgan", "--gamma", 0), "--gamma: has no effect with --arch dcgan"),
        (("--limit", 9, "--figure-every", 2), "--figure-every: has no effect with 9 images"),
        (("--on-bad", "fail"), "--on-bad: has no effect on a set by name"),
    ],
)
def test_what_training_would_not_heed_is_refused(words: tuple[object, ...], said: str, tmp_path: Path) -> None:
    for more in ((), ("--dry-run",)):
        refused(run_inside("gan", "train", "digits", "-o", tmp_path / "run", *words, *more, "--epochs", 1), 2, said)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-o", "grid.png", "--frames", 9), "--frames: has no effect without --interpolate"),
        (("-o", "grid.png", "--seeds", "1,2", "--seed", 3), "--seed: has no effect beside --seeds"),
        (("-o", "files", "--columns", 3), "--columns: has no effect on files or a film"),
        (("-o", "walk.gif", "--interpolate", 3, "--columns", 3), "--columns: has no effect on files or a film"),
        (("-o", "walk.gif", "--interpolate", 3, "--class", "1,2"), "--class 1,2: a walk stays in one class"),
    ],
)
def test_what_drawing_would_not_heed_is_refused(
    words: tuple[object, ...], said: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for more in ((), ("--dry-run",)):
        refused(run_inside("gan", "sample", model, *words, *more), 2, said)
    assert files_in(tmp_path) == {}


def test_a_dry_run_of_sample_names_the_files(model: Path, tmp_path: Path) -> None:
    result = run_inside("gan", "sample", model, "-o", tmp_path / "files", "--seeds", "4,11", "--dry-run", "--json")
    items = json.loads(result.stdout)["items"]
    assert [(Path(item["output"]).name, item["status"]) for item in items] == [
        ("seed04.png", "planned"),
        ("seed11.png", "planned"),
    ]
    assert not (tmp_path / "files").exists()


def test_misuse_of_train(run: Path, tmp_path: Path) -> None:
    before = files_in(run)
    refused(run_inside("gan", "train", "digits", "-o", run), 2, "--resume", "--overwrite")
    refused(run_inside("gan", "train", "digit", "-o", tmp_path / "run"), 3, "did you mean 'digits'")
    refused(run_inside("gan", "train", run / "losses.png", "-o", tmp_path / "run"), 3, "a file, but a folder")
    refused(run_inside("gan", "train", "digits", "-o", tmp_path / "run", "--arch", "mlp", "--loss", "relativistic"), 2)
    refused(run_inside("gan", "train", "digits", "-o", tmp_path / "run", "--size", 31), 2, "--size 31")
    refused(run_inside("gan", "train", "digits", "-o", run, "--resume", "--lr", 0.5), 2, "--lr")
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.jpg").write_text("no picture")
    refused(run_inside("gan", "train", tmp_path / "text", "-o", tmp_path / "run"), 3, "a.jpg")
    assert files_in(run) == before
    assert not (tmp_path / "run").exists()


def test_ctrl_c_saves_and_resume_goes_on(tmp_path: Path) -> None:
    options = ("--limit", 9, "--width", 4, "--device", "cpu", "--threads", 1)
    process = start_process("gan", "train", "digits", "-o", tmp_path / "run", *options, "--epochs", 100_000)
    deadline = time.monotonic() + 100
    while not (tmp_path / "run" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    assert "--resume goes on" in errors and "Traceback" not in errors
    done = len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    refused(
        run_inside("gan", "train", "digits", "-o", tmp_path / "run", "--resume", "--epochs", 50), 2, "may only grow"
    )
    assert done >= 1 and (tmp_path / "run" / "model.safetensors").is_file()
