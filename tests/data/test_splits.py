"""Splits: stratified, by content, never straddled by duplicates."""

from pathlib import Path

import numpy as np
import pytest

from dltool.data.settings import DataSettings
from dltool.data.splits import ArraySplit, Dataset, apply_splits_csv, split_off, write_splits_csv
from dltool.errors import DataError, SettingsError


def make_split(count: int = 90, classes: int = 3, duplicates: int = 0) -> ArraySplit:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, 4, 4), dtype=np.uint8)
    images[count - duplicates :] = images[:duplicates]
    return ArraySplit(images, np.arange(count) % classes, "test")


def test_shares_are_stratified_and_exact() -> None:
    parts = split_off(make_split(), {"test": 0.1, "val": 0.2}, seed=0)
    assert {name: np.bincount(part.labels).tolist() for name, part in parts.items()} == {
        "train": [21, 21, 21],
        "test": [3, 3, 3],
        "val": [6, 6, 6],
    }
    assert sorted(np.concatenate([part.numbers for part in parts.values()])) == list(range(90))


def test_equal_images_land_on_one_side_even_from_two_classes() -> None:
    split = make_split(count=91, duplicates=40)
    parts = split_off(split, {"val": 0.3}, seed=1)
    assert not set(parts["train"].hashes) & set(parts["val"].hashes)
    assert len(parts["train"]) + len(parts["val"]) == 91


def test_order_and_names_do_not_matter_but_the_seed_does() -> None:
    split = make_split()
    shuffled = split.take(np.random.default_rng(3).permutation(90))
    val = set(split_off(split, {"val": 0.2}, seed=0)["val"].hashes)
    assert set(split_off(shuffled, {"val": 0.2}, seed=0)["val"].hashes) == val
    assert set(split_off(split, {"val": 0.2}, seed=1)["val"].hashes) != val


def test_every_class_keeps_a_training_sample() -> None:
    split = make_split(count=6, classes=3)
    parts = split_off(split, {"test": 0.4, "val": 0.4}, seed=0)
    assert np.bincount(parts["train"].labels, minlength=3).min() == 1


@pytest.mark.parametrize(("val", "test"), [(1.0, 0.0), (-0.1, 0.0), (0.6, 0.4)])
def test_shares_that_leave_nothing_are_refused(val: float, test: float) -> None:
    with pytest.raises(SettingsError):
        DataSettings("set", val=val, test=test)


def test_splits_csv_divides_again_in_the_same_way(tmp_path: Path) -> None:
    split = make_split()
    parts = split_off(split, {"val": 0.2}, seed=0)
    write_splits_csv(tmp_path / "splits.csv", Dataset("test", ("a", "b", "c"), parts))
    again = apply_splits_csv(split.take(range(89, -1, -1)), tmp_path / "splits.csv")
    assert {name: set(part.hashes) for name, part in again.items()} == {
        name: set(part.hashes) for name, part in parts.items()
    }
    with pytest.raises(DataError, match="test/0: not in"):
        apply_splits_csv(ArraySplit(np.zeros((1, 2, 2), np.uint8), np.zeros(1, int), "test"), tmp_path / "splits.csv")
