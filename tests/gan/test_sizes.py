"""Images of any size, number and kind are trained on, drawn and measured, by the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dltool.gan import settings
from tests.cli.run import run_inside

FAST = ("--epochs", 1, "--width", 4, "--batch-size", 8, "--grid", 4, "--device", "cpu", "--threads", 1, "--workers", 0)


def write_images(folder: Path, count: int, size: tuple[int, int], mode: str, seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    shape = size[::-1] if mode == "L" else (*size[::-1], len(mode))
    for number in range(count):
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{number}.png")


@pytest.mark.parametrize(
    ("size", "mode", "classes", "count"),
    [
        ((40, 24), "RGB", (), 12),
        ((16, 16), "RGBA", (), 12),
        ((16, 16), "L", (), 50),
        ((24, 16), "RGB", ("ant",), 12),
        ((16, 16), "RGBA", ("ant", "bee"), 50),
    ],
)
def test_each_trains_samples_and_evaluates(
    size: tuple[int, int],
    mode: str,
    classes: tuple[str, ...],
    count: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "SHORTEST_EPOCH", 16)
    data, run = tmp_path / "data", tmp_path / "run"
    for seed, name in enumerate(classes or (".",)):
        write_images(data / name, count, size, mode, seed) if classes else write_images(data, count, size, mode)
    trained = run_inside("gan", "train", data, "-o", run, *FAST, "--json")
    assert trained.exit_code == 0, trained.output
    document = json.loads(trained.stdout)
    facts = document["data"]
    assert facts["size"] == (size[0] if size[0] == size[1] else list(size))
    assert facts["channels"] == (1 if mode == "L" else 3)
    assert document["classes"] == (list(classes) if len(classes) == 2 else [])
    assert f"of {size[0]}x{size[1]} pixels" in trained.stderr
    drawn = run_inside("gan", "sample", run, "-o", tmp_path / "grid.png", "--scale", 1, "-n", 4)
    assert drawn.exit_code == 0, drawn.output
    with Image.open(tmp_path / "grid.png") as grid, Image.open(run / "samples" / "epoch-001.png") as sheet:
        assert grid.height == 2 * (size[1] + 2) + 2  # two rows of two, of one class each where there are two
        assert (grid.width > 2 * (size[0] + 2) + 2) == (len(classes) == 2)
        assert sheet.height < 400 and sheet.width < 400
    words = ("gan", "evaluate", run, data, "-n", 12, "--sheet", tmp_path / "nearest.png", "--extractor")
    measured = run_inside(*words, "efficientnet_lite0:blocks.0", "--threads", 1, "--json")
    assert measured.exit_code == 0, measured.output
    found = json.loads(measured.stdout)
    assert found["pictures"]["size"] == facts["size"] and found["metrics"]["kid"] is not None


def test_a_typed_size_is_obeyed_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SHORTEST_EPOCH", 16)
    write_images(tmp_path / "data", 9, (40, 24), "RGB")
    words = ("gan", "train", tmp_path / "data", "-o", tmp_path / "run", *FAST)
    result = run_inside(*words, "--size", "24x16", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["settings"]["size"] == [24, 16]
    assert run_inside(*words[:5], "--resume").exit_code == 0
    refused = run_inside(*words[:5], "--resume", "--size", 16)
    assert refused.exit_code == 2 and "--size 16 differs from the run's [24, 16]" in refused.stderr
