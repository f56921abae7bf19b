"""kill -9 at any moment loses nothing, and two processes learn what one learns."""

import json
import os
from pathlib import Path

import pytest

from dltool.training.run_folder import RunFolder
from tests.forks import history_of, run_program
from tests.gan.test_train import tensors_of


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its processes")
def test_killed_again_and_again_and_still_bit_equal(tmp_path: Path) -> None:
    assert json.loads(run_program("tests.gan.processes", "kill", tmp_path)) == {"kills": 2}
    whole, killed = (tmp_path / name for name in ("whole", "killed"))
    one, other = tensors_of(whole), tensors_of(killed)
    assert set(one) == set(other)
    assert all((one[name] == tensor).all() for name, tensor in other.items())
    for name in ("model.safetensors", "training.gif", "losses.png", "samples/epoch-003.png"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    rows = [history_of(tmp_path / name) for name in ("whole", "killed")]
    assert rows[0] == rows[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its processes")
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    run_program("tests.gan.processes", "together", tmp_path)
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
