"""The manners that every command shares."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.run import run_inside, run_process


def test_version_and_help_need_no_torch():
    code = """
import sys
from dltool.cli.app import app
try:
    app(sys.argv[1:])
except SystemExit:
    print("torch" in sys.modules, "numpy" in sys.modules)
"""
    for words in (["--version"], ["--help"], ["stylize", "--help"], ["gan", "train", "--help"], ["info", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
        assert done.stdout.splitlines()[-1] == "False False", f"{words} imported torch or numpy"


def test_version():
    result = run_inside("--version")
    assert (result.exit_code, result.stdout) == (0, "dltool 0.1.0\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stylise"], "No such command 'stylise'. Did you mean 'stylize'"),
        (["stylize", "a.jpg", "--styl", "b.jpg", "-o", "c.png"], "No such option: --styl"),
        (["stylize", "a.jpg", "-o", "c.png"], "Missing option"),
        (["stylize", "a.jpg", "-s", "b.jpg", "-o", "c.png", "--size", "big"], "--size big: pixels"),
        (["info", "--device", "cpu"], "No such option"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(words: list[str], message: str):
    result = run_inside(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.startswith("dltool: error: ")
    assert result.stderr.count("\n") == 1


def test_running_out_of_memory_where_nobody_expected_it_is_exit_5(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8589934592 bytes.")

    monkeypatch.setattr("dltool.cli.info.available_devices", fail, raising=False)
    monkeypatch.setattr("dltool.device.available_devices", fail)
    result = run_inside("info")
    assert result.exit_code == 5
    assert result.stderr.startswith("dltool: error: out of memory; try a smaller --size")


def test_an_error_under_json_is_a_document_too():
    result = run_inside("stylize", "missing.jpg", "-s", "missing.png", "-o", "out.png", "--json")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert document["command"] == "stylize"
    assert document["exit_code"] == 3
    assert "missing.png: no such file" in document["error"]


def test_no_arguments_prints_help():
    result = run_inside()
    assert result.exit_code == 2
    assert "stylize" in result.output


def test_a_traceback_is_shown_only_on_demand(monkeypatch: pytest.MonkeyPatch):
    words = ("stylize", "missing.jpg", "-s", "missing.png", "-o", "out.png")
    assert "Traceback" not in run_inside(*words).stderr
    monkeypatch.setenv("DLTOOL_DEBUG", "1")
    assert "Traceback" in run_process(*words).stderr


def test_info_tells_versions_devices_weights_and_cache():
    result = run_inside("info", "--json")
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert facts["command"] == "info"
    assert facts["packages"]["torch"]
    assert facts["devices"][-1]["name"] == "cpu"
    assert facts["weights"][0]["name"] == "efficientnet_lite0"
    assert facts["cache"].endswith("checkpoints")
    assert "cache" in run_inside("info").stdout


def test_info_lists_weights_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "vgg16-397923af.pth").write_bytes(b"0" * 2_000_000)
    weights = json.loads(run_inside("info", "--json").stdout)["weights"]
    assert [entry["name"] for entry in weights[:2]] == ["efficientnet_lite0", "efficientnet_lite2"]
    assert [entry["name"] for entry in weights[2:]] == ["denoiser", "white", "vgg16-397923af"]
    assert weights[-1]["megabytes"] == 2.0
