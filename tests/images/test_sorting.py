"""Files into folders: copies and links that read the same, and an error with the file's name."""

from pathlib import Path

import pytest

from dltool.errors import DltoolError
from dltool.images.sorting import SortBy, place_file


@pytest.mark.parametrize("way", SortBy)
def test_a_file_reads_the_same_where_it_is_placed(tmp_path: Path, way: SortBy) -> None:
    (tmp_path / "a").write_bytes(b"content")
    target = tmp_path / "deep" / "er" / "b"
    for _ in range(2):  # the second time it gives way
        place_file(tmp_path / "a", target, way)
        assert target.read_bytes() == b"content"
    assert target.is_symlink() == (way is SortBy.LINK)
    tmp_path.joinpath("deep").rename(tmp_path / "moved")
    assert (tmp_path / "moved" / "er" / "b").read_bytes() == b"content"  # a link leads there by a relative path
    assert [file.name for file in (tmp_path / "moved" / "er").iterdir()] == ["b"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(DltoolError, match=r"a/b: cannot be written"):
        place_file(tmp_path / "a", tmp_path / "a" / "b", SortBy.COPY)


def test_a_link_to_another_drive_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_drive(path: Path, start: Path) -> str:
        raise ValueError("path is on mount 'C:', start on mount 'D:'")

    (tmp_path / "a").write_bytes(b"content")
    monkeypatch.setattr("os.path.relpath", other_drive)
    place_file(tmp_path / "a", tmp_path / "b", SortBy.LINK)
    assert (tmp_path / "b").readlink() == (tmp_path / "a").resolve()
