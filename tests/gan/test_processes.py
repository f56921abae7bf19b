"""kill -9 at any moment loses nothing, and two processes learn what one learns."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dltool.training.run_folder import RunFolder
from tests.gan.test_train import tensors_of

ROOT = Path(__file__).parents[2]


def start(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.gan.processes", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its processes")
def test_killed_again_and_again_and_still_bit_equal(tmp_path: Path) -> None:
    assert json.loads(start("kill", tmp_path)) == {"kills": 4}
    whole, killed = (tmp_path / name for name in ("whole", "killed"))
    one, other = tensors_of(whole), tensors_of(killed)
    assert set(one) == set(other)
    assert all((one[name] == tensor).all() for name, tensor in other.items())
    for name in ("model.safetensors", "training.gif", "losses.png", "samples/epoch-003.png"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    rows = [
        [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in text.splitlines()]
        for text in ((whole / "metrics.jsonl").read_text(), (killed / "metrics.jsonl").read_text())
    ]
    assert rows[0] == rows[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its processes")
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    start("together", tmp_path)
    one, two = tensors_of(tmp_path / "one"), tensors_of(tmp_path / "two")
    assert RunFolder(tmp_path / "two").load_checkpoint()["epoch"] == 2
    for name, tensor in one.items():
        if name.startswith(("/average", "/step/generator/", "/step/discriminator/")):
            # Adam turns the rounding of gradients near zero into whole steps of 2e-3, but only there.
            assert (two[name] - tensor).abs().mean() < 1e-4, name
    losses = [
        [(row["g_loss"], row["d_loss"]) for row in RunFolder(tmp_path / name).load_checkpoint()["history"]]
        for name in ("one", "two")
    ]
    for first, second in zip(*losses, strict=True):
        assert first == pytest.approx(second, rel=1e-3)
