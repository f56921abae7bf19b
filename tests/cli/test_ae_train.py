"""`dltool ae train` as a user types it; every misuse gets its line and exit code."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dltool.autoencoder.autoencoder_file import load_autoencoder
from dltool.images.read import read_image
from dltool.training.model_file import load_model
from dltool.training.session import Session
from tests.cli.run import files_in, run_inside, start_process
from tests.cli.test_finetune import refused

QUICK = ("--arch", "unet", "--channels", "4,8", "--patch-size", 16, "--crops-per-image", 2, "--epochs", 1)
PLACE = ("--workers", 0, "--device", "cpu")


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as folders are: every kind of image, and three files that are none."""
    folder = tmp_path_factory.mktemp("strange")
    random = np.random.default_rng(0)

    def save(name: str, *shape: int, kind: type = np.uint8, high: int = 256) -> None:
        Image.fromarray(random.integers(0, high, shape).astype(kind)).save(folder / name)

    save("grey.png", 20, 30)
    save("dot.png", 1, 1, 3)
    save("rgba.png", 18, 18, 4)
    save("deep.png", 25, 17, kind=np.uint16, high=65536)
    save("strip.png", 5, 4000, 3)
    save("tall.jpg", 90, 12, 3)
    Image.fromarray(random.integers(0, 256, (20, 20, 4)).astype(np.uint8), "CMYK").save(folder / "print.jpg")
    whole = (folder / "tall.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.png").write_bytes(b"")
    return folder


def test_a_strange_folder_comes_back_right_or_named(strange: Path, tmp_path: Path, real_charts: None) -> None:
    run = tmp_path / "run"
    result = run_inside("ae", "train", strange, "-o", run, *QUICK, *PLACE, "--noise", "gaussian:0-55/255", "--json")
    assert result.exit_code == 1, result.output
    document = json.loads(result.stdout)
    assert document == json.loads((run / "results.json").read_text())
    assert document["command"] == "ae train" and document["epochs"] == 1
    assert sum(document["counts"].values()) == 7
    assert [any(name in line for line in document["unreadable"]) for name in ("cut", "text", "empty")] == [True] * 3
    assert set(document["metrics"]["levels"]) == {"sigma 15", "sigma 25", "sigma 50"}
    assert {
        "model.safetensors",
        "last.ckpt",
        "config.json",
        "metrics.jsonl",
        "curves.png",
        "samples/epoch-001.png",
    } <= set(files_in(run))
    assert read_image(run / "curves.png").size[0] > 800
    module = load_autoencoder(run).module
    for size in ((1, 1), (5, 400), (33, 17)):
        assert module(torch.rand(1, 3, *size)).shape[2:] == size


@pytest.mark.parametrize("arch", ["stacked", "conv"])
def test_the_strange_folder_as_whole_images(strange: Path, tmp_path: Path, arch: str) -> None:
    words = ("--arch", arch, "--size", 12, "--epochs", 1, "--loss", "bce", "--noise", "mask:0.25", "--color", "grey")
    result = run_inside("ae", "train", strange, "-o", tmp_path / "run", *words, "--latent-dim", 4, *PLACE, "-q")
    assert result.exit_code == 1 and "no better than each picture's mean colour" in result.stderr, result.output
    loaded = load_autoencoder(tmp_path / "run")
    norm = {"norm": True} if arch == "conv" else {}
    assert loaded.arguments == {"in_channels": 1, "height": 12, "width": 12, "latent_dim": 4, **norm}


def test_the_default_is_conv_through_ten_numbers(tmp_path: Path) -> None:
    words = ("--epochs", 2, "--limit", 60, "--seed", 3)
    result = run_inside("ae", "train", "digits", "-o", tmp_path / "run", *words, *PLACE)
    assert result.exit_code == 0, result.output
    assert "epoch 2/2" in result.stderr and "val, clean: mse" in result.stdout
    loaded = load_autoencoder(tmp_path / "run")
    assert (loaded.arch, loaded.arguments["latent_dim"], loaded.size) == ("conv", 10, (8, 8))
    assert loaded.settings["seed"] == 3


def test_misuse_is_refused_before_any_work(strange: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train = ("ae", "train")
    refused(run_inside(*train, strange, "-o", run, "--noise", "gausian"), 2, "--noise gausian", "did you mean")
    refused(run_inside(*train, strange, "-o", run, "--arch", "unet"), 2, "--noise")
    refused(run_inside(*train, strange, "-o", run, *QUICK, "--noise", "mask", "--channels", "4,x"), 2, "--channels 4,x")
    refused(run_inside(*train, tmp_path / "none", "-o", run), 3, "no such folder")
    refused(run_inside(*train, strange / "grey.png", "-o", run), 3, "a folder of pictures")
    refused(run_inside(*train, strange, "-o", run, "--on-bad", "fail", *PLACE), 3, "--on-bad skip")
    refused(run_inside(*train, strange, "-o", run, "--resume"), 2, "no run in")
    refused(run_inside(*train, "digits", "-o", strange, *PLACE), 2, "not empty")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_text("no picture")
    refused(run_inside(*train, tmp_path / "bad", "-o", run, *PLACE), 3, "none of its pictures", "a.jpg")
    assert not run.exists()


@pytest.mark.parametrize(
    ("words", "named", "why"),
    [
        (("--channels", "4,8"), "--channels", "with --arch conv"),
        ((*QUICK, "--noise", "mask", "--latent-dim", 3), "--latent-dim", "with --arch unet"),
        ((*QUICK, "--noise", "mask", "--size", 16), "--size", "takes crops"),
        (("--data-root", "data"), "--data-root", "on a folder"),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_what_has_no_effect_is_refused(
    strange: Path, tmp_path: Path, words: tuple, named: str, why: str, dry: tuple[str, ...]
) -> None:
    refused(run_inside("ae", "train", strange, "-o", tmp_path / "run", *words, *PLACE, *dry), 2, named, why)
    assert not (tmp_path / "run").exists()


def test_small_images_of_one_size_are_learnt_whole_by_a_unet(tmp_path: Path) -> None:
    words = ("ae", "train", "digits", "-o", tmp_path / "run", "--arch", "unet", "--noise", "mask", *PLACE, "--dry-run")
    refused(run_inside(*words, "--crops-per-image", 3), 2, "--crops-per-image", "takes whole")
    refused(run_inside(*words, "--on-bad", "fail"), 2, "--on-bad", "set by name")
    assert run_inside(*words, "--size", 16).exit_code == 0


def test_a_dry_run_writes_nothing(strange: Path, tmp_path: Path) -> None:
    words = (*QUICK, *PLACE, "--noise", "poisson", "--dry-run")
    result = run_inside("ae", "train", strange, "-o", tmp_path / "run", *words)
    assert result.exit_code == 0, result.output
    assert "data: 6 train, 1 val" in result.stdout and "text.jpg" in result.stdout
    assert not (tmp_path / "run").exists()


def test_overwriting_gives_way_only_to_a_run_that_trains(tmp_path: Path) -> None:
    train = ("ae", "train", "digits", "-o", tmp_path / "run", "--arch", "stacked", "--steps", 30, "--limit", 40, *PLACE)
    assert run_inside(*train).exit_code == 0
    before = files_in(tmp_path / "run")
    refused(run_inside(*train), 2, "--resume goes on with it")
    broken = run_inside(*train, "--overwrite", "--lr", "1e30", "--clip", 0, "--loss", "l1", "--noise", "gaussian")
    assert broken.exit_code == 1
    assert files_in(tmp_path / "run") == before
    assert run_inside(*train, "--overwrite", "--seed", 1).exit_code == 0
    assert files_in(tmp_path / "run")["model.safetensors"] != before["model.safetensors"]


class Crash(BaseException):
    """The end of a process, as far as one process can have it."""


@pytest.mark.parametrize(
    ("started", "arch"),
    [
        ("--epochs 3", "stacked"),
        ("--steps 30", "conv"),
        ("", "stacked"),
        ("--time 900000h", "stacked"),
        ("--config", "stacked"),
    ],
)
def test_resume_alone_goes_on_however_a_run_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: str, arch: str
) -> None:
    words = started.split()
    if started == "--config":
        (tmp_path / "some.toml").write_text('[ae.train]\nsteps = 40\nnoise = "gaussian:0.2"\nlatent-dim = 3\n')
        words.append(tmp_path / "some.toml")
    train = ("ae", "train", "digits", "--threads", 1, "--no-page", *PLACE)
    begin = (*train, "--limit", 40, "--arch", arch, *words)
    monkeypatch.setattr("dltool.autoencoder.plan._LEAST_STEPS", 60)
    run_inside(*begin, "-o", tmp_path / "whole")
    save, saved = Session.save, []

    def save_and_crash(self: Session, state: dict) -> None:
        save(self, state)
        saved.append(state["epoch"])
        if len(saved) == 2:
            raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(Session, "save", save_and_crash)
        with pytest.raises(Crash):
            raise run_inside(*begin, "-o", tmp_path / "run").exception
    resumed = run_inside(*train, "-o", tmp_path / "run", "--resume", "--json")
    epochs = json.loads(resumed.stdout)["epochs"]
    assert saved == [1, 2] and epochs > 2, resumed.output
    whole, run = (load_model(tmp_path / name / "model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(run.tensors[name], tensor) for name, tensor in whole.tensors.items())
    again = run_inside(*train, "-o", tmp_path / "run", "--resume", "--json")  # nothing is left to do, and said so
    assert json.loads(again.stdout)["epochs"] == epochs


def test_ctrl_c_saves_and_resume_ends_as_if_never_stopped(tmp_path: Path) -> None:
    words = ("--arch", "stacked", "--noise", "gaussian:0.3", "--batch-size", 8, "--epochs", 5, "--threads", 1, *PLACE)
    words += ("--limit", 900)
    process = start_process("ae", "train", "digits", "-o", tmp_path / "run", *words)
    deadline = time.monotonic() + 100
    while not (tmp_path / "run" / "samples" / "epoch-001.png").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    assert "--resume goes on" in errors
    assert (tmp_path / "run" / "model.safetensors").is_file()
    refused(run_inside("ae", "train", "digits", "-o", tmp_path / "run", "--resume", "--lr", 1, *PLACE), 2, "--lr")
    resumed = run_inside("ae", "train", "digits", "-o", tmp_path / "run", "--resume", *PLACE)
    assert resumed.exit_code == 0, resumed.output
    assert run_inside("ae", "train", "digits", "-o", tmp_path / "whole", *words).exit_code == 0
    whole, run = (load_model(tmp_path / name / "model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(run.tensors[name], tensor) for name, tensor in whole.tensors.items())
