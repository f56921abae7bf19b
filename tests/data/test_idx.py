"""IDX files, plain and gzipped, against bytes written by hand."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from dltool.data.builtin import load_builtin
from dltool.data.idx import read_idx
from dltool.errors import DataError


def write_set(folder: Path, prefix: str, count: int, zipped: bool) -> np.ndarray:
    images = np.arange(count * 6, dtype=np.uint8).reshape(count, 2, 3)
    parts = {
        f"{prefix}-images-idx3-ubyte": b"\0\0\x08\x03" + struct.pack(">3I", count, 2, 3) + images.tobytes(),
        f"{prefix}-labels-idx1-ubyte": b"\0\0\x08\x01" + struct.pack(">I", count) + bytes(i % 10 for i in range(count)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in parts.items():
        (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)
    return images


@pytest.mark.parametrize("zipped", [False, True])
def test_sets_are_found_as_torchvision_lays_them_out(tmp_path: Path, zipped: bool) -> None:
    images = write_set(tmp_path / "MNIST" / "raw", "train", 12, zipped)
    write_set(tmp_path / "MNIST" / "raw", "t10k", 5, zipped)
    dataset = load_builtin("mnist", tmp_path, download=False)
    assert np.array_equal(dataset.splits["train"].images, images)
    assert dataset.splits["test"].labels.tolist() == [0, 1, 2, 3, 4]
    assert dataset.class_names == tuple("0123456789")


def test_other_number_types_are_big_endian(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\0\0\x0b\x01" + struct.pack(">I", 2) + struct.pack(">2h", -2, 300))
    assert read_idx(tmp_path / "x").tolist() == [-2, 300]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"GIF89a", "not an IDX file"),
        (b"\0\0\x08\x01" + struct.pack(">I", 9) + b"12", "2 bytes of numbers"),
        (gzip.compress(b"\0\0\x08\x01", mtime=0)[:-6], "cannot be read"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(DataError, match=f"bad: .*{reason}"):
        read_idx(tmp_path / "bad")


def test_an_absent_set_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"mnist: not found at .*; give --data-root FOLDER, or --download"):
        load_builtin("mnist", tmp_path, download=False)
