"""Labels from a table: a row for every image, with its class and, where they are given, its split and group."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from dltool.data.findings import Findings
from dltool.data.layouts import SPLIT_NAMES, in_order
from dltool.data.settings import ROLES
from dltool.data.splits import SPLITS, Dataset, FileSplit, is_class_name
from dltool.errors import DataError, SettingsError, did_you_mean
from dltool.tables import read_name

_NEEDED = ROLES[:2]


def read_label_table(path: Path, roles: Mapping[str, str], findings: Findings, for_training: bool = True) -> Dataset:
    """List the images of a table with a header; paths in it are relative to its folder. Nothing is decoded yet.

    Cells are separated by commas, semicolons or tabs. A split is called as a folder of it may be, an empty one is
    train; rows of an empty group are in no group.

    Args:
        roles: which column is which, by `ROLES`; others are looked for by the role's name.
        for_training: whether two classes are needed.

    Raises:
        DataError: the table cannot be read, lacks a column or a cell, or none of its files is there.
        SettingsError: a column that `roles` names is not there.
    """
    cells = _read_cells(path, roles)
    files = [path.parent / read_name(cell) for cell in cells["file"]]
    missing = [file for file in files if not file.exists()]
    if len(missing) == len(files):
        raise DataError(f"{path}: none of its files is there, such as {missing[0]}; paths are relative to the table")
    class_names = tuple(in_order(set(cells["label"])))
    if for_training and len(class_names) == 1:
        raise DataError(f"{path}: one class only ({class_names[0]}); at least two are needed")
    number = {name: index for index, name in enumerate(class_names)}
    labels = np.array([number[name] for name in cells["label"]], np.int64)
    whole = FileSplit(tuple(files), labels, groups=tuple(cells["group"]) if "group" in cells else ())
    homes = np.array([SPLIT_NAMES[name.lower()] if name else "train" for name in cells["split"]])
    splits = {name: whole.take(np.flatnonzero(homes == name)) for name in SPLITS if name in homes}
    absent = [name for name in class_names if "train" in splits and number[name] not in splits["train"].labels]
    if absent and for_training:
        raise DataError(f"{path}: no file of class {absent[0]} is in its train")
    findings.notes.append(f"{path}: labels of {len(files)} files")
    return Dataset(path.stem, class_names, splits)


def _read_cells(path: Path, roles: Mapping[str, str]) -> pd.DataFrame:
    """The table's columns by role, all texts, checked cell by cell."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            head = file.readline()
        separator = max("\t;,", key=head.count)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row of more cells than the head has
            table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, index_col=False)
    except (OSError, ValueError, pd.errors.ParserWarning) as error:  # pandas' own errors are ValueErrors
        raise DataError(f"{path}: not a table that can be read ({' '.join(str(error).split())[:100]})") from error
    table.columns = table.columns.str.strip()
    cells = pd.DataFrame(index=table.index)
    for role in ROLES:
        name = roles.get(role, role)
        if name in table:
            cells[role] = table[name].str.strip()
        elif role in roles or role in _NEEDED:
            wanted = f"--columns {role}={name}" if role in roles else f"{role}"
            has = ", ".join(table.columns[:8])
            hint = did_you_mean(name, table.columns) or f"; say which column is which with --columns {role}=NAME"
            kind = SettingsError if role in roles else DataError
            raise kind(f"{path}: no column {wanted}; it has {has}{hint}")
    if "split" not in cells:
        cells["split"] = ""
    if cells.empty:
        raise DataError(f"{path}: a table without rows")
    for role, is_right, what in (
        ("file", bool, "no file"),
        ("label", is_class_name, "no name of a class"),
        ("split", lambda name: not name or name.lower() in SPLIT_NAMES, "no split; train, val and test are"),
    ):
        wrong = [row for row, cell in enumerate(cells[role]) if not is_right(cell)]
        if wrong:
            raise DataError(f"{path}: row {wrong[0] + 1}: {cells[role][wrong[0]]!r} is {what}")
    return cells
