"""Commands that torchrun started in several processes: each shares its work out, or refuses in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from dltool.cli.app import COMMANDS, SHARING
from dltool.images.write import write_image
from dltool.training.model_file import save_model
from tests.cli.run import files_in, run_inside
from tests.cli.test_predict import small_model

ALONE = {
    "evaluate": ["model.safetensors", "data", "-o", "out"],
    "export": ["model.safetensors", "-o", "out.onnx"],
    "cluster": ["data", "-o", "out"],
    "gan sample": ["model.safetensors", "-o", "out"],
    "gan evaluate": ["model.safetensors", "data", "--sheet", "out.png"],
    "ae reconstruct": ["model.safetensors", "image.png", "-o", "out.png", "--csv", "out.csv"],
    "ae sample": ["model.safetensors", "-o", "out"],
    "style train": ["style.jpg", "-o", "out"],
    "info": [],
    "page": ["run"],
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
    _in_process(rank, monkeypatch)
    refused = run_inside(*command.split(), *ALONE[command])
    assert refused.exit_code == 2
    line = f"dltool: error: {command}: works in one process, and torchrun started 2; start it without torchrun\n"
    assert (refused.stderr, refused.stdout) == (line, "")
    assert files_in(tmp_path) == {}


def test_a_lonely_process_of_torchrun_is_no_obstacle(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    assert run_inside("info").exit_code == 0


def _in_process(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))


def test_processes_share_what_is_predicted_and_sorted_and_none_writes_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    save_model(tmp_path / "m.safetensors", small_model())
    for name in ("a/0", "a/1", "b/2", "b/1"):
        write_image(tmp_path / "in" / f"{name}.png", np.full((40, 40, 3), 60 * int(name[-1]), np.uint8))
    words = ["predict", tmp_path / "m.safetensors", tmp_path / "in", "--sort", tmp_path / "out", "--json"]
    seen = []
    for rank in (1, 0):
        _in_process(rank, monkeypatch)
        result = run_inside(*words)
        assert result.exit_code == 0, result.stderr
        seen += [Path(item["input"]).relative_to(tmp_path / "in") for item in json.loads(result.stdout)["items"]]
        assert len(files_in(tmp_path / "out")) == len(seen)
    assert sorted(map(str, seen)) == ["a/0.png", "a/1.png", "b/1.png", "b/2.png"]
    table = run_inside(*words, "--csv", tmp_path / "t.csv", "--overwrite")
    assert (table.exit_code, "t.csv: one process writes a table" in table.stderr) == (2, True)
    assert not (tmp_path / "t.csv").exists()
    named_alike = run_inside(*words[:2], tmp_path / "in" / "a", tmp_path / "in" / "b", *words[3:])
    assert (named_alike.exit_code, "1.png have one name" in named_alike.stderr) == (2, True)


def test_processes_share_the_pages_of_featmap_and_have_one_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(3):
        write_image(tmp_path / "in" / f"{number}.png", np.full((40, 40, 3), 60 * number, np.uint8))
    words = ["featmap", tmp_path / "in", "-o", tmp_path / "out", "--size", 64, "--layer", "conv_stem"]
    for rank, expected in ((1, {"1"}), (0, {"0", "1", "2"})):
        _in_process(rank, monkeypatch)
        result = run_inside(*words)
        assert result.exit_code == 0, result.stderr
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
        assert {Path(entry["input"]).stem for entry in manifest["pictures"]} == expected
    assert sorted(files_in(tmp_path / "out")) == [*(f"{n}.maps.png" for n in range(3)), "manifest.json"]
    refused = run_inside("featmap", "--filters", "-o", tmp_path / "other")
    assert (refused.exit_code, "--filters: looks at the network alone" in refused.stderr) == (2, True)
    assert not (tmp_path / "other").exists()


def test_a_sheet_of_augmentations_is_for_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _in_process(1, monkeypatch)
    refused = run_inside("finetune", tmp_path, "-o", tmp_path / "out", "--preview-augment")
    assert (refused.exit_code, "--preview-augment: draws one sheet" in refused.stderr) == (2, True)
    assert files_in(tmp_path) == {}
