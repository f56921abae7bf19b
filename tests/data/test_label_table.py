"""Labels from a table, and groups that no division tears apart."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dltool.data.load import DataReport
from dltool.data.settings import DataSettings, LabelledData
from dltool.data.splits import ArraySplit, FileSplit, content_hash, split_off, units_of
from dltool.errors import DataError, DltoolError, SettingsError
from dltool.finetune.evaluate import find_known
from dltool.finetune.inference_settings import EvaluationData
from dltool.settings import as_plain
from dltool.training.run_folder import RunFolder
from tests.cli.run import run_inside
from tests.data.test_folders import load, save


def table_of(root: Path, head: str, rows: list[str]) -> Path:
    """A table beside the images that its rows begin with, each of which is made."""
    for number, row in enumerate(rows):
        save(root / row.replace(";", ",").split(",")[0], number, size=24)
    path = root / "labels.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8-sig")
    return path


def counts_of(report: DataReport) -> dict[str, dict[str, int]]:
    return report.facts["counts"]


def test_files_labels_and_splits_of_a_table(tmp_path: Path) -> None:
    rows = [
        f"photos/{name}{index}.png,{name},{split}"
        for name in ("ox", "elk")
        for index, split in enumerate(["train", "Training", "", "val", "TEST"])
    ]
    report = load(table_of(tmp_path, "file,label,split", rows))
    assert report.dataset.class_names == ("elk", "ox")
    assert counts_of(report) == {name: {"elk": n, "ox": n} for name, n in (("train", 3), ("val", 1), ("test", 1))}
    assert report.dataset.splits["test"].paths == (tmp_path / "photos/ox4.png", tmp_path / "photos/elk4.png")
    assert f"{tmp_path / 'labels.csv'}: labels of 10 files" in report.notes


def test_columns_by_other_names_and_semicolons(tmp_path: Path) -> None:
    rows = [f"{index}.png;{index};{'ab'[index % 2]}" for index in range(10)]
    path = table_of(tmp_path, "image;number;breed", rows)
    assert counts_of(load(path, columns=("file=image", "label=breed"))) == {
        "train": {"a": 4, "b": 4}, "val": {"a": 1, "b": 1}
    }  # fmt: skip
    with pytest.raises(DataError, match=r"no column file; it has image, number, breed; say which column is which"):
        load(path)
    with pytest.raises(SettingsError, match=r"no column --columns label=bred; .*did you mean 'breed'\?"):
        load(path, columns=("file=image", "label=bred"))
    with pytest.raises(
        SettingsError, match=r"--columns image: file=NAME, label=NAME, split=NAME, group=NAME are known"
    ):
        LabelledData(str(path), columns=("image",))


@pytest.mark.parametrize(
    ("head", "rows", "said"),
    [
        ("file,label", ["a.png,ox", "b.png,"], r"row 2: '' is no name of a class"),
        ("file,label", ["a.png,ox", "b.png,../elk"], r"row 2: '\.\./elk' is no name of a class"),
        ("file,label,split", ["a.png,ox,train", "b.png,elk,holdout"], r"row 2: 'holdout' is no split"),
        ("file,label,split", ["a.png,ox,train", "b.png,elk,val"], r"no file of class elk is in its train"),
        ("file,label", ["a.png,ox", "b.png,ox"], r"one class only \(ox\)"),
        ("file,label", [], r"a table without rows"),
    ],
)
def test_a_table_that_cannot_be_used_says_where(tmp_path: Path, head: str, rows: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        load(table_of(tmp_path, head, rows))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    path = table_of(tmp_path, "file,label", [f"{i}.png,{'ab'[i % 2]}" for i in range(8)])
    (tmp_path / "0.png").unlink()
    assert [Path(line.split(":")[0]).name for line in load(path).unreadable] == ["0.png"]
    path = path.rename(tmp_path.parent / "moved.csv")
    with pytest.raises(DataError, match=r"none of its files is there, such as .*0\.png; paths are relative to the"):
        load(path)


def grouped_rows() -> list[str]:
    """Twelve patients of 2 to 4 images; every third has images of both classes."""
    rows = []
    for patient in range(12):
        for image in range(2 + patient % 3):
            label = "ill" if patient % 2 or (patient % 3 == 0 and image) else "well"
            rows.append(f"p{patient:02d}_{image}.png,{label},p{patient:02d}")
    return rows


@pytest.mark.parametrize("by_table", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_group_is_never_divided(tmp_path: Path, by_table: bool, seed: int) -> None:
    path = table_of(tmp_path, f"file,label,{'group' if by_table else 'patient'}", grouped_rows())
    how = {"seed": seed, "val": 0.2, "test": 0.2} | ({} if by_table else {"group_by": r"(p\d+)_"})
    report = load(path, **how)
    homes = {name: {p.name[:3] for p in split.paths} for name, split in report.dataset.splits.items()}
    assert sum(map(len, homes.values())) == len(set().union(*homes.values())) == 12
    assert {name: len(found) for name, found in counts_of(report).items()} == {"train": 2, "val": 2, "test": 2}
    assert 4 <= len(report.dataset.splits["val"]) <= 11
    limited = load(path, **how, limit=12).dataset
    assert {name: len(split) for name, split in limited.splits.items()}["train"] == 12
    if not by_table:
        assert any("12 groups of pictures, none is divided" in note for note in report.notes)


def test_groups_that_stand_in_two_splits_are_refused_by_name(tmp_path: Path) -> None:
    rows = [f"{i}.png,{'ab'[i % 2]},{'train' if i < 6 else 'val'},{'g' if i in (0, 7) else i}" for i in range(10)]
    path = table_of(tmp_path, "file,label,split,group", rows)
    with pytest.raises(DataError, match=r"group 'g' stands in train and in val; .*give --val and --test shares"):
        load(path)


def test_a_pattern_that_matches_nothing_or_is_none(tmp_path: Path) -> None:
    path = table_of(tmp_path, "file,label", [f"{i}.png,{'ab'[i % 2]}" for i in range(8)])
    with pytest.raises(DataError, match=r"--group-by patient: matches no path in .*labels\.csv, such as 0\.png"):
        load(path, group_by="patient")
    with pytest.raises(SettingsError, match=r"--group-by \(: not a regular expression"):
        DataSettings("data", group_by="(")
    assert any("7 pictures do not match and are in no group" in n for n in load(path, group_by="^3").notes)


def test_equal_contents_keep_their_groups_together() -> None:
    hashes = tuple(content_hash(str(number).encode()) for number in (0, 1, 1, 2, 3))
    split = FileSplit(tuple(map(Path, "abcde")), np.zeros(5, int), hashes, ("x", "x", "y", "y", ""))
    units = units_of(split)
    assert len(set(units[:4])) == 1 and units[4] != units[0]
    assert units_of(replace(split, groups=())).tolist() != units.tolist()


def test_a_share_is_met_as_nearly_as_units_allow() -> None:
    """One unit of 40 equal images among 60 single ones: a fifth is 20, and neither half of the forty."""
    images = np.zeros((100, 4, 4), np.uint8)
    images[40:] = np.random.default_rng(0).integers(0, 256, (60, 4, 4))
    for seed in range(5):
        parts = split_off(ArraySplit(images, np.zeros(100, int), "test"), {"val": 0.15}, seed)
        assert len(parts["val"]) == 15
    twins = ArraySplit(np.repeat(images[40:42], 5, axis=0), np.zeros(10, int), "test")
    assert Counter(map(len, split_off(twins, {"val": 0.1}, 0).values())) == {5: 2}


def test_no_group_and_no_table_mean_nothing_to_sets_by_name() -> None:
    assert {"columns", "group_by"} <= set(LabelledData("digits").without_effect())
    assert "columns" in LabelledData("folder").without_effect()
    with pytest.raises(DltoolError):
        load(Path("nowhere.csv"))


def test_the_command_takes_a_table_and_a_run_remembers_its_columns(tmp_path: Path) -> None:
    path = table_of(tmp_path / "data", "image,breed", [f"{i // 2}_{i}.png,{'ab'[i % 2]}" for i in range(12)])
    words = ("--columns", "file=image,label=breed", "--group-by", "^[0-9]+", "--dry-run")
    result = run_inside("finetune", path, "-o", tmp_path / "run", *words)
    assert result.exit_code == 0, result.stderr
    assert "2 classes (a, b), 10 train, 2 val" in result.output and "6 groups of pictures" in result.output
    (tmp_path / "run").mkdir()
    stored = as_plain(LabelledData(str(path), columns=("file=image", "label=breed"), group_by="^[0-9]+"))
    RunFolder(tmp_path / "run").write_json("config.json", {"data": stored, "settings": {}})
    known = find_known(tmp_path / "run", EvaluationData(str(path)), typed=())
    assert (known.settings.columns, known.settings.group_by) == (("file=image", "label=breed"), "^[0-9]+")
