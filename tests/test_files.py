import os
import subprocess
import sys
from pathlib import Path

import pytest

from dltool.errors import DltoolError
from dltool.files import write_atomically


def test_content_is_written_and_nothing_else_left(tmp_path: Path):
    write_atomically(tmp_path / "sub" / "a.bin", b"new")
    assert (tmp_path / "sub" / "a.bin").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a.bin"]


def test_what_a_killed_run_left_behind_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    ended.wait()

    def killed(_: int) -> None:
        raise SystemExit

    monkeypatch.setattr("os.getpid", lambda: ended.pid)
    monkeypatch.setattr("os.fsync", killed)
    monkeypatch.setattr(Path, "unlink", lambda self: None)  # nobody cleans up after kill -9
    with pytest.raises(SystemExit):
        write_atomically(tmp_path / "a.bin", b"half")
    assert [path.suffix for path in tmp_path.iterdir()] == [".part"]
    monkeypatch.undo()
    write_atomically(tmp_path / "a.bin", b"whole")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.bin": b"whole"}


def test_the_longest_possible_name_can_be_written(tmp_path: Path):
    write_atomically(tmp_path / ("a" * 255), b"whole")
    assert (tmp_path / ("a" * 255)).read_bytes() == b"whole"


def test_the_old_file_survives_a_failed_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(DltoolError, match=r"a\.bin: cannot be written \(No space left on device\)"):
        write_atomically(target, b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.bin": b"old"}


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path: Path):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(DltoolError, match="taken"):
        write_atomically(tmp_path / "taken" / "a.bin", b"new")


_COUNT = """
import sys
from pathlib import Path
from dltool.files import locked, write_atomically
path = Path(sys.argv[1])
for _ in range(40):
    with locked(path):
        write_atomically(path, str(int(path.read_text() if path.exists() else 0) + 1).encode())
"""


@pytest.mark.skipif(os.name != "posix", reason="locks by flock")
def test_processes_that_lock_a_file_lose_nothing_of_each_other(tmp_path: Path):
    path = tmp_path / "sub" / "count"
    counters = [subprocess.Popen([sys.executable, "-c", _COUNT, str(path)]) for _ in range(3)]
    assert [counter.wait(60) for counter in counters] == [0, 0, 0]
    assert path.read_text() == "120"
    assert [each.name for each in path.parent.iterdir()] == ["count"]
