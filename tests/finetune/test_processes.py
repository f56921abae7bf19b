"""kill -9 at any moment loses nothing, and two processes learn what one learns."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dltool.backbones.registry import create_backbone
from dltool.training.model_file import load_model

ROOT = Path(__file__).parents[2]


def start(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.finetune.processes", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its processes")
def test_ten_times_killed_and_still_bit_equal(tmp_path: Path) -> None:
    assert json.loads(start("kill", tmp_path)) == {"kills": 10}
    whole, killed = (load_model(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(killed.tensors[name], tensor) for name, tensor in whole.tensors.items())
    assert killed.metrics == whole.metrics
    rows = [
        [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in path.read_text().splitlines()]
        for path in (tmp_path / "whole" / "metrics.jsonl", tmp_path / "killed" / "metrics.jsonl")
    ]
    assert rows[0] == rows[1]
    last = [torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "killed")]
    assert all(torch.equal(last[0]["ema"][name], tensor) for name, tensor in last[1]["ema"].items())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its processes")
def test_two_processes_learn_what_one_learns(textures: Path, cache: Path, tmp_path: Path) -> None:
    start("together", textures, cache, tmp_path)
    one, two = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("one", "two"))
    assert one["epoch"] == two["epoch"] == 2
    for name, tensor in one["model"].items():
        assert torch.allclose(two["model"][name].float(), tensor.float(), rtol=1e-3, atol=1e-4), name
    before = create_backbone("efficientnet_lite0").module.state_dict()["conv_head.weight"]
    assert (one["model"]["body.conv_head.weight"] - before).abs().max() > 1e-3  # it did train something
    losses = [[row["train_loss"] for row in state["history"]] for state in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    models = [load_model(tmp_path / name / "model.safetensors").metrics["val"]["loss"] for name in ("one", "two")]
    assert models[0] == pytest.approx(models[1], rel=1e-3)
