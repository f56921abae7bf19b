"""Tables of any file: what is read, which columns are compared, and what the others are for."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dltool.cluster.table_columns import Table, TableChoice, read_table
from dltool.errors import DataError, SettingsError
from tests.cli.run import run_inside


def written(folder: Path, text: str, **choice: object) -> Table:
    """The table of a text file."""
    (folder / "t.csv").write_text(text, encoding="utf-8")
    return read_table(folder / "t.csv", TableChoice(**choice))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("1,2\n3,4\n", [[1, 2], [3, 4]]),
        ("height;width\n1;2.5\n3;4\n", [[1, 2.5], [3, 4]]),
        ("1\t2\n3\t4", [[1, 2], [3, 4]]),
        ('"1","2"\n', [[1, 2]]),
        ("\ufeff1\n2\n", [[1], [2]]),
        ("a;b\n1,5;2\n-3,25;4,0\n", [[1.5, 2], [-3.25, 4]]),
        ("1,5\t2,5\n3,5\t4,5\n", [[1.5, 2.5], [3.5, 4.5]]),
        ("a  b\n1.5   2\n 3  4\n", [[1.5, 2], [3, 4]]),
        ("1,5 2,5\n3,5 4,5\n", [[1.5, 2.5], [3.5, 4.5]]),
        ("1, 2, 3\n4, 5, 7\n", [[1, 2, 3], [4, 5, 7]]),
        ("0,1,2\n5,6,7\n8,9,1\n", [[5, 6, 7], [8, 9, 1]]),
        ("0,1\n5.5,6.5\n", [[5.5, 6.5]]),
        ("0,1\n1,0\n", [[0, 1], [1, 0]]),
        ("1700000000.5,1\n1700000001,2\n", [[1700000000.5, 1], [1700000001, 2]]),
        ("on,x\nTrue,1\nFalse,3\n", [[1, 1], [0, 3]]),
        (",0,1\n7,0.5,1\n9,2,3\n", [[0.5, 1], [2, 3]]),
        ("id,x,y\n1,5,6\n2,7,9\n3,1,2\n", [[5, 6], [7, 9], [1, 2]]),
        ('"a" "b"\n"r1" 5 6.5\n"r2" 7 9\n', [[5, 6.5], [7, 9]]),
    ],
)
def test_numbers_are_read_however_they_are_written(tmp_path: Path, text: str, rows: list[list[float]]) -> None:
    assert written(tmp_path, text).rows.tolist() == rows


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2\nx y,3\n", "line 2, column 1: 'x y' is not a number; correct it, or"),
        ("a,b\n1,2\n5,4\n1o,3\n", "line 4, column 'a': '1o' is not a number"),
        ("1,2\n3\n", "line 2: 1 columns, but 2"),
        ("1,2\n3,4,5\n", "line 2: 3 columns, but 2"),
        ("a,b\n", "no row of numbers"),
        ("a,b\nx,y\nz,y\n", "no column of numbers in it to compare .it has column 'a', column 'b'"),
        ("", "empty"),
    ],
)
def test_what_is_no_table_of_numbers_is_told_by_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        written(tmp_path, text)


MIXED = "when,kind,x,y\n2020-01-01,a,1,2\n2020-01-02,b,3,4\n2020-01-03,a,5,7\n"


def test_unique_text_names_the_rows_and_other_text_is_left_out_and_said(tmp_path: Path) -> None:
    found = written(tmp_path, MIXED)
    assert found.names == ("2020-01-01", "2020-01-02", "2020-01-03") and found.columns == ("x", "y")
    assert "rows are called by column 'when'" in found.notes
    assert any("left out: column 'kind' (2 different); --label-column" in note for note in found.notes)
    scored = written(tmp_path, MIXED, label_column="kind")
    assert scored.labels.tolist() == [0, 1, 0] and scored.class_names == ("a", "b") and len(scored.notes) == 1


def test_columns_are_chosen_and_left_out_by_name_or_number(tmp_path: Path) -> None:
    assert written(tmp_path, MIXED, columns=("y",)).rows.tolist() == [[2], [4], [7]]
    assert written(tmp_path, MIXED, ignore=("x", "when")).columns == ("y",)
    assert written(tmp_path, "4,5,6\n7,8,8\n", columns=("3", "1")).rows.tolist() == [[6, 4], [8, 7]]
    counted = "n,x\n0,5\n1,6\n2,9\n"
    assert written(tmp_path, counted).columns == ("x",)
    assert written(tmp_path, counted, columns=("n", "x")).columns == ("n", "x")
    for choice, said in (
        ({"columns": ("z",)}, "--columns z: .* has no such column"),
        ({"ignore": ("kin",)}, "--ignore kin: .*did you mean 'kind'"),
        ({"columns": ("kind",)}, "--columns kind: holds text"),
    ):
        with pytest.raises(SettingsError, match=said):
            written(tmp_path, MIXED, **choice)


def test_arrays_of_numpy_files_are_tables_too(tmp_path: Path) -> None:
    rows = np.arange(12.0).reshape(4, 3)
    np.savez(tmp_path / "t.npz", x=rows, y=np.array([1, 0, 1, 1]))
    found = read_table(tmp_path / "t.npz", TableChoice(ignore=("2",), label_column="y"))
    assert found.rows.tolist() == rows[:, [0, 2]].tolist() and found.labels.tolist() == [1, 0, 1, 1]
    np.save(tmp_path / "t.npy", rows)
    chosen = read_table(tmp_path / "t.npy", TableChoice(columns=("3",)))
    assert chosen.rows[1:3].tolist() == [[5], [8]] and chosen.rows.shape == (4, 1)
    np.savez(tmp_path / "two.npz", a=rows, b=rows)
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    for name, said in (("two", "one table of rows is needed, it holds a 4 × 3, b"), ("bad", "not a readable .npz")):
        with pytest.raises(DataError, match=said):
            read_table(tmp_path / f"{name}.npz", TableChoice())


def test_parquet_is_read_by_pyarrow_or_said_to_need_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"x": [1, 2.5], "day": pd.to_datetime(["2020-01-01", "2020-01-02"])}, index=["p", "q"])
    frame.to_parquet(path)
    found = read_table(path, TableChoice())
    assert found.rows.tolist() == [[1], [2.5]] and found.names == ("p", "q") and found.columns == ("x",)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match="reading Parquet needs pyarrow"):
        read_table(path, TableChoice())


def test_rows_of_more_cells_than_the_header_are_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"x{n},y{n},{n},{2 * n}\n" for n in range(9)))
    result = run_inside("cluster", tmp_path / "t.csv", "-o", tmp_path / "out", "-k", "2", "--dry-run", "--json")
    assert result.exit_code == 0, result.stderr
