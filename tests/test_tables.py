"""CSV files hold names of any bytes, and nothing that a spreadsheet would carry out."""

import csv
import io
import os

from dltool.tables import read_name, to_csv


def _read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))


def test_formulas_are_quoted_and_numbers_are_not():
    cells = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\tx", "\rx", "-0.25", "+1e-3", "a=b", "'x"]
    (row,) = _read(to_csv([cells]))
    assert row == ["'=cmd|' /C calc'!A0", "'+1+1", "'-2+3", "'@SUM(1)", "'\tx", "'\rx", "-0.25", "+1e-3", "a=b", "'x"]
    assert [read_name(cell) for cell in row] == cells
    assert to_csv([[-1, -0.5, None, 7]]) == b"-1,-0.5,,7\n"


def test_names_that_are_no_utf8_are_percent_encoded():
    names = [os.fsdecode(name) for name in (b"b\xff 100%.png", b"=\xfe/x.png", "Köln%41.png".encode(), b"a\nb,c.png")]
    rows = _read(to_csv([name] for name in names))
    assert [row[0] for row in rows] == ["b%FF 100%25.png", "'=%FE/x.png", "Köln%41.png", "a\nb,c.png"]
    assert [read_name(row[0]) for row in rows] == names
