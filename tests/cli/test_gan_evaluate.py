"""`dltool gan evaluate` on small sets whose answer is known."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from dltool.gan.generator_file import TrainedGenerator
from dltool.gan.networks import build_generator
from dltool.gan.settings import Arch, NetworkSpec
from dltool.training.model_file import save_model
from tests.cli.run import run_inside

QUICK = ("--extractor", "efficientnet_lite0:blocks.1", "--device", "cpu", "--workers", 0)  # 24 features


def write_images(folder: Path, pixels: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{index:03d}.png")
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Two folders of different digits, and one of noise."""
    images = np.rint(load_digits().images * (255 / 16)).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (80, 8, 8), np.uint8)
    root = tmp_path_factory.mktemp("digits")
    sets = {"first": images[:160:2], "second": images[1:160:2], "noise": noise}
    first, second, third = (write_images(root / name, pixels) for name, pixels in sets.items())
    return first, second, third


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with an untrained generator of grey images of 8 pixels."""
    torch.manual_seed(0)
    generator = build_generator(NetworkSpec(Arch.MLP, 8, 1)).eval()
    run = tmp_path_factory.mktemp("run")
    save_model(run / "model.safetensors", TrainedGenerator(generator, (), {}, {}).to_file())
    return run


def evaluate(*words: object) -> dict:
    """The JSON document."""
    result = run_inside("gan", "evaluate", *words, *QUICK, "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == bool(document.get("unreadable")), result.stderr
    return document


def test_two_folders(digits: tuple[Path, Path, Path]):
    first, second, noise = digits
    same, near, far = (evaluate(folder, first)["metrics"] for folder in (first, second, noise))
    assert same["frechet"] == pytest.approx(0, abs=1e-3)
    assert (same["precision"], same["recall"]) == (1, 1)
    assert 0 < near["frechet"] < 0.1 * far["frechet"]
    assert abs(near["kid"]) < 0.1 * far["kid"]
    assert near["precision"] > 0.5 > far["precision"]


def test_everything_that_the_figures_depend_on_is_told(digits: tuple[Path, Path, Path]):
    first, second, _ = digits
    document = evaluate(first, second, "-n", 50)
    assert document["pictures"] == {"generated": 50, "real": 80, "split": "train", "size": 8, "channels": 1}
    assert document["extractor"] == {
        "name": "efficientnet_lite0:blocks.1",
        "dim": 24,
        "input_size": 64,
        "resizing": "64x64 pixels, antialiased bicubic, grey replicated to RGB",
        "weights": "default",
    }
    result = run_inside("gan", "evaluate", first, second, "-n", 50, "--input-size", 32, *QUICK)
    assert "50 pictures of" in result.stdout
    assert "against 80 of" in result.stdout
    assert "efficientnet_lite0:blocks.1, 24 of them; resizing: 32x32 pixels" in result.stdout


def test_a_generator_against_a_set_by_name_and_its_sheet(model: Path, tmp_path: Path):
    sheet = tmp_path / "sheet.png"
    words = (model, "digits", "-n", 40, "--limit", 100, "--sheet", sheet)
    document = evaluate(*words)
    assert document["metrics"]["frechet"] > 100
    assert document["pictures"]["generated"] == 40
    assert document["training_metrics"] is None  # there are only training images
    assert document["nearest"]["samples"]["least"] > 0.1
    assert Image.open(sheet).width > 1000
    again = run_inside("gan", "evaluate", *words, *QUICK)
    assert (again.exit_code, "output exists; give --overwrite" in again.stderr) == (2, True)
    other = evaluate(model / "model.safetensors", "digits", "-n", 40, "--limit", 100, "--seed", 1)
    assert other["metrics"]["frechet"] != document["metrics"]["frechet"]


def test_copies_of_training_images_are_found(digits: tuple[Path, Path, Path], tmp_path: Path):
    first, second, _ = digits
    copied = evaluate(first, first, "--sheet", tmp_path / "copies.png")["nearest"]["samples"]
    assert copied == {"median": 0, "least": 0}
    assert evaluate(second, first, "--sheet", tmp_path / "other.png")["nearest"]["samples"]["least"] > 0.05


def test_what_training_images_would_get_is_told_beside(digits: tuple[Path, Path, Path], tmp_path: Path):
    first, second, noise = digits
    for split, folder in (("train", first), ("test", second)):
        (tmp_path / "data" / split).mkdir(parents=True)
        (tmp_path / "data" / split / "digit").symlink_to(folder)
    document = evaluate(noise, tmp_path / "data", "--sheet", tmp_path / "sheet.png")
    assert document["pictures"]["split"] == "test"
    assert document["training_metrics"]["frechet"] == pytest.approx(evaluate(first, second)["metrics"]["frechet"])
    assert document["training_metrics"]["frechet"] < 0.1 * document["metrics"]["frechet"]
    assert 0 < document["nearest"]["held_out"]["median"] < document["nearest"]["samples"]["median"]
    assert evaluate(noise, tmp_path / "data", "--split", "train")["pictures"]["split"] == "train"


def test_unreadable_files_and_colour_beside_grey(digits: tuple[Path, Path, Path], tmp_path: Path):
    first, _, _ = digits
    colour = np.random.default_rng(1).integers(0, 256, (30, 12, 9, 3), np.uint8)
    folder = write_images(tmp_path / "colour", colour)
    (folder / "text.jpg").write_text("no picture")
    document = evaluate(folder, first, "--sheet", tmp_path / "sheet.png")
    assert document["pictures"] == {"generated": 30, "real": 80, "split": "train", "size": 9, "channels": 3}
    assert len(document["unreadable"]) == 1
    assert "text.jpg" in document["unreadable"][0]
    failed = run_inside("gan", "evaluate", folder, first, "--on-bad", "fail", *QUICK)
    assert (failed.exit_code, "text.jpg" in failed.stderr) == (3, True)


def test_too_few_images_for_a_frechet_distance(digits: tuple[Path, Path, Path]):
    first, second, _ = digits
    result = run_inside("gan", "evaluate", first, second, "-n", 24, "--json", *QUICK)
    metrics = json.loads(result.stdout)["metrics"]
    assert result.exit_code == 0
    assert metrics["frechet"] is None
    assert metrics["kid"] is not None
    assert "no Fréchet distance: 24 pictures on a side, but its 24 features need at least 25" in result.stderr
    assert evaluate(first, second, "-n", 25)["metrics"]["frechet"] > 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["{first}", "nosuch"], 3, "nosuch: no such folder"),
        (["{first}", "digits", "--extractor", "resnet19"], 2, "--extractor resnet19: no such network; did you mean"),
        (["{first}", "digits", "--extractor", "efficientnet_lite0:nosuch"], 2, "--extractor nosuch: no such layer"),
        (["{first}", "digits", "--extractor", "inception_v3"], 4, "use --extractor efficientnet_lite0"),
        (["{first}", "digits", "--split", "test"], 2, "--split test: digits has no such part"),
        (["nosuch.safetensors", "digits"], 4, "nosuch.safetensors: no such file"),
        (["{model}", "digits", "--size", "32"], 2, "--size: a generator's pictures have their own"),
        (["{first}", "digits", "--overwrite"], 2, "--overwrite: has no effect without --sheet"),
        (["{first}", "{first}", "--download"], 2, "--download: has no effect on a folder"),
        (["{model}", "digits", "--on-bad", "fail"], 2, "--on-bad: has no effect on a set by name"),
        (["{first}", "digits", "--sheet", "a.xyz"], 2, "a.xyz: cannot write this kind of picture"),
        (["{empty}", "digits"], 3, "no pictures in this folder"),
        (["{model}", "digits", "-n", "3"], 3, "3 pictures against 1797: every figure takes at least 4"),
    ],
)
def test_refusals(
    words: list[str], code: int, message: str, digits: tuple[Path, Path, Path], model: Path, tmp_path: Path
):
    places = {"first": digits[0], "model": model, "empty": tmp_path}
    result = run_inside("gan", "evaluate", *(word.format(**places) for word in words), "--device", "cpu")
    assert result.exit_code == code, result.stderr
    assert message in result.stderr
    assert result.stderr.splitlines()[-1].startswith("dltool: error: ")
