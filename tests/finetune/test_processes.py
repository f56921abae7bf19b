"""kill -9 at any moment loses nothing, and two processes learn what one learns."""

import json
import os
from pathlib import Path

import pytest
import torch

from dltool.backbones.registry import create_backbone
from dltool.training.model_file import load_model
from tests.forks import history_of, run_program


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its processes")
def test_ten_times_killed_and_still_bit_equal(tmp_path: Path) -> None:
    assert json.loads(run_program("tests.finetune.processes", "kill", tmp_path)) == {"kills": 10}
    whole, killed = (load_model(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(killed.tensors[name], tensor) for name, tensor in whole.tensors.items())
    assert killed.metrics == whole.metrics
    rows = [history_of(tmp_path / name) for name in ("whole", "killed")]
    assert rows[0] == rows[1]
    last = [torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "killed")]
    assert all(torch.equal(last[0]["ema"][name], tensor) for name, tensor in last[1]["ema"].items())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its processes")
def test_two_processes_learn_what_one_learns(textures: Path, cache: Path, tmp_path: Path) -> None:
    run_program("tests.finetune.processes", "together", textures, cache, tmp_path)
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
