"""Numbers of tables: slices of .npy files, and what their columns are like."""

from pathlib import Path

import numpy as np
import pytest

from dltool.cluster.table import TableFile, measure_columns
from dltool.errors import DataError


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


def test_numbers_that_are_none_are_named_by_their_rows(tmp_path: Path) -> None:
    rows = np.ones((20_000, 3))
    measure_columns(rows, tmp_path)
    rows[[4, 7], 2] = np.nan
    with pytest.raises(DataError, match=r"row 5, column 3 is nan \(rows with such cells: 5, 8\); remove"):
        measure_columns(rows, tmp_path)
    rows[[4, 7], 2] = 0
    rows[15_000, 0] = -np.inf
    with pytest.raises(DataError, match="row 15001, column 1 is -inf, too large"):
        measure_columns(rows, tmp_path)


def test_columns_are_measured_far_from_zero(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(20_000, 2)) * [1, 0.05]
    np.save(tmp_path / "t.npy", rows + 1e8)
    table = TableFile(tmp_path / "t.npy")
    found = measure_columns(table, tmp_path)
    assert np.allclose(found.mean - 1e8, rows.mean(0), atol=1e-7) and np.allclose(found.spread, rows.std(0), rtol=1e-6)
    assert found.unlike == (0, 1) and measure_columns(rows[:, [0, 0]], tmp_path).unlike is None
    scaled = found.scaling(True, "t")(table)
    assert scaled[5:8].dtype == np.float32 and np.allclose(scaled[:].std(0), 1, rtol=1e-5)
    assert np.allclose(scaled[5:8], ((rows - rows.mean(0)) / rows.std(0))[5:8], atol=1e-5)
    assert np.array_equal(scaled.take(np.array([7, 5])), scaled[5:8][[2, 0]])
    assert np.array_equal(table.take_numbers(np.array([7])), (rows + 1e8)[[7]])


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.ones((50, 3)))
    whole = (tmp_path / "t.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-8])
    (tmp_path / "text.npy").write_text("hello")
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    for name, said in (("cut", "truncated"), ("text", "not a readable"), ("words", "numbers are needed")):
        with pytest.raises(DataError, match=said):
            TableFile(tmp_path / f"{name}.npy")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("scale", "said"), [(1e20, "1e.20 in column 1 is too large"), (1e-25, "no two rows are 5e-26 apart, too small")]
)
def test_numbers_whose_squares_float32_cannot_hold_are_told_unless_standardized(
    tmp_path: Path, scale: float, said: str
) -> None:
    np.save(tmp_path / "t.npy", np.array([[0, 1], [1, 0]]) * scale)
    found = measure_columns(TableFile(tmp_path / "t.npy"), tmp_path)
    with pytest.raises(DataError, match=said):
        found.scaling(False, "t")
    assert np.allclose(found.scaling(True, "t")(TableFile(tmp_path / "t.npy"))[:], [[-1, 1], [1, -1]])
    measure_columns(np.zeros((3, 2)), tmp_path).scaling(False, "t")
