"""One process at a time in a run's folder."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dltool.errors import SettingsError
from dltool.locks import lock_folder
from dltool.outputs import LOCK
from dltool.training.run_folder import RunFolder
from tests.cli.run import run_inside

_HOLD = """
import sys
from pathlib import Path
from dltool.locks import lock_folder
lock = lock_folder("-o", Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, at work in `tmp_path / "run"`."""
    (tmp_path / "run").mkdir()
    words = [sys.executable, "-c", _HOLD, str(tmp_path / "run")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_live_run_is_refused_by_its_process_and_a_dead_ones_lock_is_taken_over(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    run.write_json("config.json", {"command": "gan train", "version": "0", "settings": {}, "data": {}})
    for words in (["--resume"], ["--overwrite"]):
        refused = run_inside("gan", "train", "digits", "-o", run.path, "--epochs", "1", *words, "-q")
        assert refused.exit_code == 2 and f"process {holder.pid} is at work" in refused.stderr, refused.stderr
    refused = run_inside("cluster", "digits", "-o", run.path, "--overwrite", "-q")
    assert refused.exit_code == 2 and f"process {holder.pid} is at work" in refused.stderr
    with pytest.raises(SettingsError, match=f"process {holder.pid}"):
        run.go_on("gan train")
    holder.kill()
    holder.wait()
    assert (run.path / LOCK).read_text() == str(holder.pid)  # it could not tidy up
    run.go_on("gan train")
    assert (run.path / LOCK).read_text() == str(os.getpid())
    run.release()
    assert not (run.path / LOCK).exists()


def test_a_process_may_lock_a_folder_again(tmp_path: Path) -> None:
    first = lock_folder("-o", tmp_path)
    assert lock_folder("-o", tmp_path) is first
    first.release()
    second = lock_folder("-o", tmp_path)
    assert second is not first and (tmp_path / LOCK).is_file()
    del second
    assert not (tmp_path / LOCK).exists()
