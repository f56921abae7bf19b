"""Commands that torchrun started in several processes: each shares its work out, or refuses in one line."""

from pathlib import Path

import pytest

from dltool.cli.app import COMMANDS, SHARING
from tests.cli.run import files_in, run_inside

ALONE = {
    "evaluate": ["model.safetensors", "data", "-o", "out"],
    "export": ["model.safetensors", "-o", "out.onnx"],
    "cluster": ["data", "-o", "out"],
    "gan sample": ["model.safetensors", "-o", "out"],
    "gan evaluate": ["model.safetensors", "data", "--sheet", "out.png"],
    "ae reconstruct": ["model.safetensors", "image.png", "-o", "out.png", "--csv", "out.csv"],
    "info": [],
}


def test_every_command_is_for_one_process_or_shares_its_work():
    assert set(COMMANDS) == set(ALONE) | SHARING
    assert not set(ALONE) & SHARING


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("command", list(ALONE))
def test_a_command_for_one_process_refuses_to_be_one_of_several(
    command: str, rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))
    refused = run_inside(*command.split(), *ALONE[command])
    assert refused.exit_code == 2
    line = f"dltool: error: {command}: works in one process, and torchrun started 2; start it without torchrun\n"
    assert (refused.stderr, refused.stdout) == (line, "")
    assert files_in(tmp_path) == {}


def test_a_lonely_process_of_torchrun_is_no_obstacle(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    assert run_inside("info").exit_code == 0
