"""`dltool evaluate` on a run's own data: divided as the run did, wherever it is called from, whatever was added."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.run import run_inside


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory):
    os.environ["DLTOOL_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    del os.environ["DLTOOL_CACHE"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twenty small images each of dark and light noise."""
    random = np.random.default_rng(0)
    for name, level in (("dark", 40), ("light", 180)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(20):
            pixels = (random.integers(0, 60, (28, 28, 3)) + level).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number}.png")
    return tmp_path / "data"


def train(data: Path, folder: Path, *options: object) -> None:
    words = ("finetune", data, "-o", folder, "--backbone", "mlp", "--epochs", 1, "--workers", 0, "--device", "cpu")
    result = run_inside(*words, *options)
    assert result.exit_code == 0, result.output


def evaluate(*words: object) -> tuple[int, str]:
    """How many images were scored, and what was said."""
    result = run_inside("evaluate", *words, "--json", "--workers", 0, "--device", "cpu")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["metrics"]["samples"], result.stderr


def test_the_runs_own_splits_are_read(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(data, tmp_path / "first", "--seed", 5, "--val", 0.3)
    train(data, tmp_path / "run", "--splits", tmp_path / "first" / "splits.csv")
    samples, said = evaluate(tmp_path / "run", data)
    assert samples == 12
    assert "were trained on" not in said
    samples, said = evaluate(tmp_path / "run", data, "--split", "all")
    assert samples == 40
    assert "28 of the 40 pictures were trained on" in said
    assert evaluate(tmp_path / "run", data, "--limit", 6)[0] == 6
    monkeypatch.chdir(data)
    samples, said = evaluate(tmp_path / "run", Path("..") / "data")
    assert samples == 12
    assert "were trained on" not in said


def test_images_that_were_added_are_new(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "run")
    for number in range(3):
        Image.new("RGB", (28, 28), (number, 9, 9)).save(data / "dark" / f"more{number}.png")
    samples, said = evaluate(tmp_path / "run" / "model.safetensors", data)
    assert samples == 8
    assert "3 pictures are new to the run" in said
    assert "were trained on" not in said
    assert evaluate(tmp_path / "run", data, "--split", "new")[0] == 3


def test_splits_of_data_with_a_val_of_its_own(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "flat")
    with (tmp_path / "flat" / "splits.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        target = tmp_path / "divided" / row["split"] / row["class"]
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(row["sample"], target)
    train(tmp_path / "divided", tmp_path / "run", "--splits", tmp_path / "flat" / "splits.csv")
    assert evaluate(tmp_path / "run", tmp_path / "divided")[0] == 8
    (tmp_path / "bad.csv").write_text("sample,class,split,content\na,b,other,00\n")
    words = ("finetune", data, "-o", tmp_path / "no", "--splits")
    for file, text in ((tmp_path / "bad.csv", "'other' is no split"), (data / "dark" / "0.png", "not a splits file")):
        result = run_inside(*words, file)
        assert result.exit_code == 3
        assert text in result.stderr


def test_options_without_effect_are_refused(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "run")
    for options, text in (
        (("--overwrite",), "--overwrite: has no effect without -o"),
        (("--seed", 1), "--seed: has no effect without --val or --test"),
        (("--tta",), "--tta: has no effect with a small network"),
    ):
        result = run_inside("evaluate", tmp_path / "run", data, *options)
        assert result.exit_code == 2
        assert text in result.stderr


def test_one_class_and_a_test_folder_alone_are_enough_to_measure(data: Path, tmp_path: Path) -> None:
    train(data, tmp_path / "run")
    shutil.copytree(data / "dark", tmp_path / "one" / "dark")
    shutil.copytree(data / "light", tmp_path / "tests" / "test" / "light")
    for name in ("one", "tests"):
        result = run_inside("evaluate", tmp_path / "run", tmp_path / name, "--split", "all", "--json")
        assert result.exit_code == 0, result.stderr
        assert json.loads(result.stdout)["metrics"]["samples"] == 20
