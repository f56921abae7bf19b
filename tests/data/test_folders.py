"""Class folders and the data check, with everything that real folders have in them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dltool.backbones.preprocessing import Preprocessing
from dltool.data.check import difference_hash
from dltool.data.load import DataReport, divide, load_data
from dltool.data.pixels import PixelReader
from dltool.data.settings import DataSettings
from dltool.data.splits import ArraySplit, Dataset
from dltool.data.store import ContentStore
from dltool.errors import DataError
from dltool.events import finish


def load(root: Path, **settings: object) -> DataReport:
    reader = PixelReader(Preprocessing(resize=64, crop=56))
    return finish(load_data(DataSettings(str(root), **settings), ContentStore(None), reader.read_file, workers=0))


def save(path: Path, seed: int, size: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for number, name in enumerate(("bees", "ants")):
        for index in range(10):
            save(tmp_path / "data" / name / f"{index}.png", 100 * number + index)
    return tmp_path / "data"


def test_percent_split_of_plain_folders(folders: Path) -> None:
    dataset = load(folders, test=0.1).dataset
    assert dataset.class_names == ("ants", "bees")
    assert {name: dataset.counts(name).tolist() for name in dataset.splits} == {
        "train": [7, 7],
        "val": [2, 2],
        "test": [1, 1],
    }
    assert all((path.parent.name == "bees") == label for path, label in _samples(dataset.splits["val"]))


def _samples(split):
    return zip(split.paths, split.labels, strict=True)


def test_val_is_mapped_by_name_when_a_class_is_absent_there(folders: Path, tmp_path: Path) -> None:
    root = tmp_path / "split"
    shutil.copytree(folders, root / "train")
    save(root / "valid" / "bees" / "new.png", 999)
    (root / "valid" / "ants").mkdir()
    report = load(root)
    assert report.dataset.splits["val"].labels.tolist() == [1]
    assert any("no pictures of ants" in note for note in report.notes)


def test_a_class_in_val_that_train_lacks(folders: Path, tmp_path: Path) -> None:
    root = tmp_path / "split"
    shutil.copytree(folders, root / "train")
    save(root / "val" / "wasps" / "w.png", 5)
    with pytest.raises(DataError, match="wasps: a class that train lacks; train has ants, bees"):
        load(root)


def test_one_class_an_empty_class_and_no_class(folders: Path, tmp_path: Path) -> None:
    (folders / "empty").mkdir()
    with pytest.raises(DataError, match="empty: an empty class"):
        load(folders)
    shutil.rmtree(folders / "empty")
    shutil.rmtree(folders / "ants")
    with pytest.raises(DataError, match=r"one class only \(bees\)"):
        load(folders)
    with pytest.raises(DataError, match="no class folders"):
        load(folders / "bees")
    with pytest.raises(DataError, match="digitz: no such folder; did you mean 'digits'"):
        load(Path("digitz"))


def test_hidden_folders_are_no_classes_and_are_noted(folders: Path) -> None:
    save(folders / ".ipynb_checkpoints" / "a.png", 1)
    report = load(folders)
    assert report.dataset.class_names == ("ants", "bees")
    assert any(".ipynb_checkpoints: hidden" in note for note in report.notes)


def test_a_truncated_jpeg_is_found_by_decoding(folders: Path) -> None:
    save(folders / "ants" / "cut.jpg", 7, size=256)
    content = (folders / "ants" / "cut.jpg").read_bytes()
    (folders / "ants" / "cut.jpg").write_bytes(content[: len(content) // 2])
    report = load(folders)
    assert len(report.unreadable) == 1
    assert "cut.jpg" in report.unreadable[0]
    assert sum(len(split) for split in report.dataset.splits.values()) == 20
    with pytest.raises(DataError, match=r"cut\.jpg: .*--on-bad skip"):
        load(folders, on_bad="fail")


def test_all_files_broken(folders: Path) -> None:
    for path in folders.rglob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"none of its pictures can be read; the first: .*not a picture"):
        load(folders)


def test_exact_and_near_duplicates_across_splits_are_noted(folders: Path, tmp_path: Path) -> None:
    root = tmp_path / "split"
    shutil.copytree(folders, root / "train")
    (root / "val" / "ants").mkdir(parents=True)
    shutil.copy(folders / "ants" / "0.png", root / "val" / "ants" / "copy.png")
    with Image.open(folders / "bees" / "3.png") as image:
        (root / "val" / "bees").mkdir()
        image.resize((90, 90)).save(root / "val" / "bees" / "smaller.jpg", quality=60)
    notes = " | ".join(load(root).notes)
    assert "1 pictures stand in more than one split" in notes
    assert "copy.png" in notes
    assert "1 nearly equal pairs across train and val" in notes
    assert "smaller.jpg" in notes


def test_imbalance_and_contradicting_labels_are_noted(folders: Path) -> None:
    for index in range(60):
        save(folders / "ants" / f"more{index}.png", 1000 + index)
    shutil.copy(folders / "ants" / "1.png", folders / "bees" / "same.png")
    notes = " | ".join(load(folders).notes)
    assert "imbalance" in notes
    assert "more than one class" in notes


def test_known_content_is_not_decoded_again(folders: Path, tmp_path: Path) -> None:
    store = ContentStore(tmp_path / "store")
    reader = PixelReader(Preprocessing(resize=64, crop=56))
    list(load_data(DataSettings(str(folders)), store, reader.read_file, 0))

    def fail(path: Path) -> np.ndarray:
        raise AssertionError(f"{path} was decoded")

    again = ContentStore(tmp_path / "store")
    assert isinstance(finish(load_data(DataSettings(str(folders)), again, fail, 0)), DataReport)


def test_difference_hash_tells_images_apart_and_forgives_scale() -> None:
    random = np.random.default_rng(0)
    coarse = [Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(2)]
    small, large, other = (
        np.unpackbits(difference_hash(np.asarray(image.resize(size, Image.Resampling.BICUBIC))))
        for image, size in ((coarse[0], (80, 60)), (coarse[0], (400, 300)), (coarse[1], (80, 60)))
    )
    assert (small != large).sum() < 10 < 80 < (small != other).sum()


def test_one_image_for_each_class_says_what_is_missing() -> None:
    split = ArraySplit(np.arange(32, dtype=np.uint8).reshape(2, 4, 4), np.arange(2), "two")
    dataset = Dataset("two", ("a", "b"), {"train": split})
    with pytest.raises(DataError, match="some class needs at least 2 different ones"):
        divide(dataset, DataSettings("two"))
    with pytest.raises(DataError, match="--val a share above 0"):
        divide(dataset, DataSettings("two", val=0.0))


def test_a_check_that_is_left_keeps_what_it_has_decoded(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (20, 20), (number, len(name), ord(name))).save(tmp_path / "data" / name / f"{number}.png")
    reader = PixelReader(Preprocessing(resize=64, crop=56))
    events = load_data(
        DataSettings(str(tmp_path / "data")), ContentStore(tmp_path / "store"), reader.read_file, workers=0
    )
    for _ in range(4):
        next(events)
    events.close()
    assert len(ContentStore(tmp_path / "store")._rows) == 3


def test_a_class_may_be_called_train_and_a_split_has_one_folder(tmp_path: Path) -> None:
    for name in ("train", "bus"):
        (tmp_path / "cars" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (20, 20), (number, len(name), 0)).save(tmp_path / "cars" / name / f"{number}.png")
    assert load(tmp_path / "cars").dataset.class_names == ("bus", "train")
    for name in ("train", "val", "valid"):
        shutil.copytree(tmp_path / "cars", tmp_path / "split" / name)
    with pytest.raises(DataError, match="val and valid are both the val split"):
        load(tmp_path / "split")
