"""How people lay out folders of images: which classes and splits are found, or the line that refuses them."""

import csv
from collections.abc import Iterable
from pathlib import Path

import pytest

from dltool.data.findings import write_findings
from dltool.errors import DataError
from tests.data.test_folders import load, save

Layout = dict[str, dict[str, int]]


def lay_out(root: Path, folders: Iterable[str], count: int = 3) -> Path:
    """A folder in which each of `folders` holds `count` images, all different."""
    for number, folder in enumerate(folders):
        for index in range(count):
            save(root / folder / f"{index}.png", 1000 * number + index, size=24)
    return root


def found(root: Path) -> tuple[tuple[str, ...], Layout]:
    """Classes, and how many images of each are in each split that the folders name."""
    dataset = load(root, complete=False).dataset
    counts = {
        name: dict(zip(dataset.class_names, dataset.counts(name).tolist(), strict=True)) for name in dataset.splits
    }
    return dataset.class_names, counts


SPLIT = {"train": {"cat": 3, "dog": 3}, "test": {"cat": 3, "dog": 3}}


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("Training", "Test"), ("TRAIN", "Testing"), ("training", "eval"), ("data/train", "data/test")],
)
def test_splits_by_any_of_their_names(tmp_path: Path, train: str, test: str) -> None:
    root = lay_out(tmp_path, [f"{train}/cat", f"{train}/dog", f"{test}/cat", f"{test}/dog"])
    assert found(root) == (("cat", "dog"), SPLIT)


@pytest.mark.parametrize("val", ["val", "valid", "Validation", "DEV"])
def test_val_by_any_of_its_names(tmp_path: Path, val: str) -> None:
    root = lay_out(tmp_path, ["train/cat", "train/dog", f"{val}/cat", f"{val}/dog"])
    assert found(root)[1]["val"] == {"cat": 3, "dog": 3}


def test_splits_inside_of_classes(tmp_path: Path) -> None:
    root = lay_out(tmp_path, ["cat/train", "cat/test", "dog/Train", "dog/test"])
    assert found(root) == (("cat", "dog"), SPLIT)
    lay_out(tmp_path, ["bird"])
    with pytest.raises(DataError, match=r"cat: is divided into test, train, but .*bird is not; divide every class or"):
        load(root)


def test_splits_without_classes_are_no_classes(tmp_path: Path) -> None:
    root = lay_out(tmp_path, ["train", "test"])
    with pytest.raises(DataError, match="test and train are called after splits, but have no class folders in them"):
        load(root)


def test_classes_one_level_down(tmp_path: Path) -> None:
    root = lay_out(tmp_path, ["photos/cat", "photos/dog"])
    assert found(root)[0] == ("cat", "dog")
    assert f"{root / 'photos'}: the classes are looked for here" in load(root).notes


def test_nested_classes_are_not_merged(tmp_path: Path) -> None:
    root = lay_out(tmp_path, ["train/animals/cat", "train/animals/dog", "train/insects/bee", "test/animals/dog"])
    names, counts = found(root)
    assert names == ("animals/cat", "animals/dog", "insects/bee")
    assert counts["test"] == {"animals/cat": 0, "animals/dog": 3, "insects/bee": 0}
    assert any(
        "train: folders in folders are classes: animals/cat, animals/dog, insects/bee" in note
        for note in load(root).notes
    )


def test_one_folder_in_each_class_keeps_the_classes_name(tmp_path: Path) -> None:
    assert found(lay_out(tmp_path, ["cat/images", "dog/images"]))[0] == ("cat", "dog")


def test_folders_in_a_class_that_has_images_belong_to_it_and_that_is_said(tmp_path: Path) -> None:
    root = lay_out(tmp_path, ["cat", "cat/more", "dog"])
    assert found(root) == (("cat", "dog"), {"train": {"cat": 6, "dog": 3}})
    assert f"{root / 'cat'}: 3 pictures in folders below it are of class cat, too" in load(root).notes


def test_what_systems_leave_behind_is_no_class(tmp_path: Path) -> None:
    root = lay_out(tmp_path, ["cat", "dog", "__MACOSX/cat", "cat/@eaDir", ".ipynb_checkpoints"])
    (root / "cat" / "Thumbs.db").write_bytes(b"thumbs")
    (root / ".DS_Store").write_bytes(b"store")
    assert found(root) == (("cat", "dog"), {"train": {"cat": 3, "dog": 3}})
    assert not load(root).facts["findings"]


def test_every_finding_is_a_row(tmp_path: Path) -> None:
    root = lay_out(tmp_path / "data", ["cat", "dog"])
    (root / "cat" / "a.jxl").write_bytes(b"jxl")
    (root / "dog" / "bad.png").write_bytes(b"no image")
    (root / "dog" / "copy.png").write_bytes((root / "cat" / "0.png").read_bytes())
    report = load(root, complete=False)
    assert f"{root}: 1 file of a kind that is not read: .jxl" in report.notes
    assert report.facts["findings"] == {"contradicting": 1, "unknown kind": 1, "unreadable": 1}
    write_findings(tmp_path / "data_check.csv", report.findings)
    rows = list(csv.DictReader((tmp_path / "data_check.csv").open()))
    assert {(row["finding"], Path(row["file"]).name) for row in rows} == {
        ("unknown kind", "a.jxl"),
        ("unreadable", "bad.png"),
        ("contradicting", "copy.png"),
    }


def test_a_folder_of_another_kind_only_says_so(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jxl").write_bytes(b"jxl")
    with pytest.raises(DataError, match=r"no pictures in its class folders; 2 files of a kind that is not read: \.jxl"):
        load(tmp_path)
