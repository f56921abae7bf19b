"""Folders of images as they come: what is read, what is named, what is held out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dltool.autoencoder.batches import common_size, whole_images
from dltool.autoencoder.data import ImageData, Loaded, load_images, to_channels
from dltool.errors import DataError
from dltool.events import finish
from dltool.images.tensors import fit_pixels
from dltool.images.write import write_image


def load(source: Path | str, budget: int | None = None, **values: object) -> Loaded:
    return finish(load_images(ImageData(str(source), **values), 0, budget))


def stripes(path: Path, count: int, size: tuple[int, int] = (12, 9)) -> None:
    for index in range(count):
        write_image(path / f"{index}.png", np.full((*size, 3), (index, 2 * index, 3 * index), np.uint8))


def test_images_anywhere_below_the_folder_and_broken_ones_named(tmp_path: Path) -> None:
    stripes(tmp_path / "a" / "b", 4)
    (tmp_path / "text.jpg").write_text("no picture")
    whole = (tmp_path / "a" / "b" / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "notes.txt").write_text("hello")
    loaded = load(tmp_path)
    assert sum(len(split) for split in loaded.splits.values()) == 4
    assert [any(name in text for text in loaded.unreadable) for name in ("text.jpg", "cut.png")] == [True, True]
    assert len(loaded.unreadable) == 2
    with pytest.raises(DataError, match="--on-bad skip"):
        load(tmp_path, on_bad="fail")


def test_what_is_held_out_depends_on_content_alone(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        stripes(tmp_path / folder, 20)
    for file in sorted((tmp_path / "second").iterdir()):
        file.rename(file.with_name(f"z{file.name[::-1][4:]}_{file.stat().st_size}_{file.stem}.png"))
    held = [set(load(tmp_path / folder, val=0.25).splits["val"].hashes) for folder in ("first", "second")]
    assert held[0] == held[1] and len(held[0]) == 5
    assert held[0] != set(load(tmp_path / "first", val=0.25, seed=1).splits["val"].hashes)


def test_equal_images_stay_on_one_side(tmp_path: Path) -> None:
    for copy in range(3):
        stripes(tmp_path / str(copy), 6)
    splits = load(tmp_path, val=0.5).splits
    assert not set(splits["train"].hashes) & set(splits["val"].hashes)
    assert len(splits["train"]) + len(splits["val"]) == 18


def test_train_and_val_folders_are_taken_as_they_are(tmp_path: Path) -> None:
    stripes(tmp_path / "train", 5)
    stripes(tmp_path / "valid" / "deep", 2, (7, 7))
    splits = load(tmp_path).splits
    assert {name: len(split) for name, split in splits.items()} == {"train": 5, "val": 2}
    assert common_size(list(splits.values())) is None


def test_one_image_is_measured_on_itself_and_said_so(tmp_path: Path) -> None:
    stripes(tmp_path, 1)
    loaded = load(tmp_path)
    assert len(loaded.splits["val"]) == 1 and "training pictures" in loaded.notes[0]


@pytest.mark.parametrize(("source", "message"), [("nowhere", "no such folder"), ("empty", "no pictures")])
def test_nothing_to_read(source: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        load(tmp_path / source)
    with pytest.raises(DataError, match="did you mean 'digits'"):
        load("digit")


def test_what_does_not_fit_into_memory_is_read_again(tmp_path: Path) -> None:
    stripes(tmp_path, 6)
    kept, fresh = load(tmp_path), load(tmp_path, budget=0)
    assert kept.splits["train"].in_memory and not fresh.splits["train"].in_memory
    assert kept.digest == fresh.digest
    for index in range(len(kept.splits["train"])):
        pair = [to_channels(loaded.splits["train"].pixels(index), 3) for loaded in (kept, fresh)]
        assert torch.equal(*pair)


def test_grey_is_told_by_the_pixels(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4, 3), 7, np.uint8)).save(tmp_path / "grey_as_rgb.png")
    Image.fromarray(np.full((4, 4), 9, np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "deep.png")
    assert all(all(split.grey) for split in load(tmp_path).splits.values())
    stripes(tmp_path, 3)
    assert not all(all(split.grey) for split in load(tmp_path).splits.values())


def test_channels_by_rec_601() -> None:
    colors = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert to_channels(colors, 1).tolist() == [[[76, 150, 29]]]
    assert to_channels(colors, 3).tolist() == [[[255, 0, 0]], [[0, 255, 0]], [[0, 0, 255]]]
    assert to_channels(colors[..., 0], 3).tolist() == [[[255, 0, 0]]] * 3


def test_whole_images_of_any_shape_are_cut_about_their_middle(tmp_path: Path) -> None:
    strip = np.zeros((5, 200, 3), np.uint8)
    strip[:, 95:105] = 255
    assert fit_pixels(strip, (4, 8)).shape == (4, 8, 3)
    assert fit_pixels(strip, (4, 8)).min() > 240  # the middle ten columns are what is left
    stripes(tmp_path, 3)
    split = load(tmp_path).splits["train"]
    assert whole_images(split, 3, (12, 9)).shape == (2, 3, 12, 9)
