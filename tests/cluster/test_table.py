"""Tables from text and .npy files."""

from pathlib import Path

import numpy as np
import pytest

from dltool.cluster.table import TableFile, check_finite, read_csv
from dltool.errors import DataError


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("height;width\n1;2.5\n3;4\n", [[1, 2.5], [3, 4]]),
        ("1\t2\n3\t4", [[1, 2], [3, 4]]),
        ('"1","2"\n', [[1, 2]]),
        ("\ufeff1\n2\n", [[1], [2]]),
    ],
)
def test_numbers_are_read_with_names_or_without(tmp_path: Path, text: str, rows: list[list[float]]) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    assert read_csv(tmp_path / "t.csv").tolist() == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2\nx y,3\n", "line 2, column 1: 'x y' is not a number"),
        ("a,b\n1,2\n1,\n", "line 3, column 2: an empty cell"),
        ("1,2\n3\n", "line 2: 1 columns, but 2"),
        ("a,b\n", "no row of numbers"),
        ("", "empty"),
    ],
)
def test_what_is_no_table_of_numbers_is_told_by_its_place(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_csv(tmp_path / "t.csv")


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, np.uint8])
@pytest.mark.parametrize("order", ["C", "F"])
def test_slices_of_a_file_are_those_of_the_array(tmp_path: Path, kind: type, order: str) -> None:
    array = np.asarray(np.random.default_rng(0).integers(0, 99, (57, 5)), dtype=kind, order=order)
    np.save(tmp_path / "t.npy", array)
    table = TableFile(tmp_path / "t.npy")
    for part in (slice(0, 57), slice(3, 9), slice(50, 99), slice(None, 4)):
        assert table[part].dtype == np.float32
        assert np.array_equal(table[part], array[part])
    assert np.array_equal(table.take(np.array([40, 2])), array[[40, 2]])


def test_numbers_that_are_none_are_found(tmp_path: Path) -> None:
    rows = np.ones((9, 3), np.float32)
    check_finite(rows, tmp_path)
    rows[4, 2] = np.nan
    with pytest.raises(DataError, match="row 5, column 3 is nan"):
        check_finite(rows, tmp_path)


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.ones((50, 3)))
    whole = (tmp_path / "t.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-8])
    (tmp_path / "text.npy").write_text("hello")
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    for name, said in (("cut", "truncated"), ("text", "not a readable"), ("words", "numbers are needed")):
        with pytest.raises(DataError, match=said):
            TableFile(tmp_path / f"{name}.npy")


@pytest.mark.parametrize(
    ("scale", "said"), [(1e20, "row 1, column 2 is 1e.20, too large"), (1e-25, "larger than 1e-25")]
)
def test_numbers_whose_squares_float32_cannot_hold_are_told(tmp_path: Path, scale: float, said: str) -> None:
    np.save(tmp_path / "t.npy", np.array([[0, 1], [1, 0]]) * scale)
    with pytest.raises(DataError, match=said):
        check_finite(TableFile(tmp_path / "t.npy"), tmp_path)


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_float32_are_told_without_a_warning(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.array([[1.0, -1e50]]))
    with pytest.raises(DataError, match="row 1, column 2 is -inf, too large"):
        check_finite(TableFile(tmp_path / "t.npy"), tmp_path)
    check_finite(np.zeros((3, 2), np.float32), tmp_path)
