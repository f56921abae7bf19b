from pathlib import Path

import pytest

from dltool.errors import DltoolError
from dltool.files import write_atomically


def test_content_is_written_and_nothing_else_left(tmp_path: Path):
    write_atomically(tmp_path / "sub" / "a.bin", b"new")
    assert (tmp_path / "sub" / "a.bin").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a.bin"]


def test_what_a_killed_run_left_behind_is_taken_over(tmp_path: Path):
    (tmp_path / ".a.bin.part").write_bytes(b"half")
    write_atomically(tmp_path / "a.bin", b"whole")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.bin": b"whole"}


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
