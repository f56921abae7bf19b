"""The store by content: rows survive, damage does not spread, memory alone works too."""

from pathlib import Path

import numpy as np
import torch

from dltool.backbones.preprocessing import Preprocessing
from dltool.data.pixels import PixelReader
from dltool.data.store import ContentStore

HASHES = [f"{number:032x}" for number in range(5)]


def test_rows_are_found_again_by_another_process(tmp_path: Path) -> None:
    rows = torch.randn(5, 3)
    ContentStore(tmp_path).add(HASHES[:2], rows[:2])
    ContentStore(tmp_path).add(HASHES[2:4], rows[2:4])
    store = ContentStore(tmp_path)
    assert store.missing([*HASHES, HASHES[4]]) == [4]
    assert torch.equal(store.rows([HASHES[3], HASHES[0]]), rows[[3, 0]])


def test_a_damaged_file_counts_as_absent(tmp_path: Path) -> None:
    ContentStore(tmp_path).add(HASHES[:1], torch.ones(1, 2))
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-3])
    assert ContentStore(tmp_path).missing(HASHES[:1]) == [0]


def test_without_a_folder_nothing_is_written(tmp_path: Path) -> None:
    store = ContentStore(None)
    store.add(HASHES[:1], torch.ones(1, 2))
    assert HASHES[0] in store
    assert not any(tmp_path.iterdir())


def test_pixels_do_not_depend_on_what_fits_into_memory(sample_images: Path) -> None:
    path = sample_images / "photos" / "cat.jpg"
    preprocessing = Preprocessing(resize=96, crop=80)
    keeping, forgetting = PixelReader(preprocessing), PixelReader(preprocessing, max_bytes=0)
    first = keeping.read_file(path)
    assert keeping.read_file(path) is first
    assert np.array_equal(forgetting.read_file(path), first)
    assert min(first.shape[:2]) == 96
    assert np.array_equal(preprocessing.crop_pixels(first), preprocessing.crop_pixels(forgetting.read_file(path)))


def test_a_folder_that_cannot_be_written_to_leaves_the_rows_in_memory(tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    store = ContentStore(tmp_path / "taken" / "cache")
    store.add(["aa" * 16], torch.ones(1, 3))
    assert torch.equal(store.rows(["aa" * 16]), torch.ones(1, 3))


def test_rows_that_are_no_numbers_count_as_absent(tmp_path: Path) -> None:
    ContentStore(tmp_path).add(["aa" * 16], torch.full((1, 3), float("nan")))
    assert "aa" * 16 not in ContentStore(tmp_path)
