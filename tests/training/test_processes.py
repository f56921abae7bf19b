"""Two processes that train together stay together: where one lacks memory, and where their clocks differ."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.forks import run_program


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks its processes")
@pytest.mark.parametrize("command", ["finetune", "ae", "gan"])
def test_what_happens_to_one_happens_to_both(tmp_path: Path, command: str) -> None:
    run_program("tests.training.processes", command, tmp_path)

    def left(fault: str) -> list[dict[str, Any]]:
        return [torch.load(tmp_path / f"{fault}-{rank}.pt", weights_only=True) for rank in (0, 1)]

    for fault in ("forward", "backward", "time"):
        first, second = left(fault)
        assert len(first["tensors"]) > 3
        for name, tensor in first["tensors"].items():
            assert torch.equal(tensor, second["tensors"][name]), (fault, name)
        assert first["ends"] == second["ends"]
        assert first["notices"] == second["notices"]
        halved = any("out of memory: every batch" in notice for notice in first["notices"])
        assert halved == (fault != "time")
    first, second = left("stop")
    assert first["ends"] == second["ends"] and first["ends"][-1][0] == "Stopped"
