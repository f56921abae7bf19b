"""Of files that are cut short what can be decoded is used where that is asked for, and nowhere else."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from dltool.data.load import load_data
from dltool.data.settings import DataSettings, OnBad
from dltool.data.store import ContentStore
from dltool.errors import DataError
from dltool.events import finish
from dltool.images.partial import allow_partial
from dltool.images.read import PARTIAL, read_image


def _cut(path: Path, part: float, kind: str = "JPEG") -> np.ndarray:
    ramp = np.add.outer(np.arange(96), 2 * np.arange(120)) % 256
    pixels = np.dstack([ramp, ramp[::-1], ramp[:, ::-1]]).astype(np.uint8)
    Image.fromarray(pixels).save(path, kind)
    whole = read_image(path).pixels
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    return whole


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_upper_part_is_as_in_the_whole_image(tmp_path: Path, kind: str):
    whole = _cut(tmp_path / "a.jpg", 0.7, kind)
    with pytest.raises(DataError, match="damaged picture"):
        read_image(tmp_path / "a.jpg")
    allow_partial(tmp_path / "a.jpg")
    image = read_image(tmp_path / "a.jpg")
    assert image.notes == (PARTIAL,)
    np.testing.assert_array_equal(image.pixels[:32], whole[:32])
    assert (image.pixels[-1] != whole[-1]).any()
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_a_file_without_any_pixels_stays_unreadable(tmp_path: Path):
    _cut(tmp_path / "a.png", 0.02, "PNG")
    (tmp_path / "b.jpg").write_text("no picture")
    for name in ("a.png", "b.jpg"):
        allow_partial(tmp_path / name)
        with pytest.raises(DataError, match=name):
            read_image(tmp_path / name)


def test_others_are_refused_while_one_is_decoded_leniently(tmp_path: Path):
    _cut(tmp_path / "strict.jpg", 0.7)
    _cut(tmp_path / "lenient.jpg", 0.7)
    allow_partial(tmp_path / "lenient.jpg")

    def outcome(name: str) -> str:
        try:
            return read_image(tmp_path / name).notes[0]
        except DataError:
            return "refused"

    names = ["strict.jpg", "lenient.jpg", "strict.jpg"] * 60
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(outcome, names))
    assert outcomes == ["refused", PARTIAL, "refused"] * 60


def test_on_bad_partial_trains_on_what_there_is_and_says_so(tmp_path: Path):
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 20), (len(name), ord(name[0]), ord(name[2]))).save(tmp_path / name)
    _cut(tmp_path / "b" / "3.jpg", 0.7)
    (tmp_path / "b" / "4.jpg").write_text("no picture")

    def load(on_bad: OnBad):
        settings = DataSettings(str(tmp_path), on_bad=on_bad)
        return finish(load_data(settings, None, lambda path: read_image(path).pixels, 1), lambda _: None)

    def count(report) -> int:
        return sum(len(split) for split in report.dataset.splits.values())

    left_out = load(OnBad.SKIP)
    assert count(left_out) == 4 and len(left_out.unreadable) == 2
    partly = load(OnBad.PARTIAL)
    assert count(partly) == 5 and len(partly.unreadable) == 1
    (note,) = [note for note in partly.notes if "what could be decoded of it is used" in note]
    assert note.startswith(f"{tmp_path / 'b' / '3.jpg'}: damaged picture")


def test_damaged_images_are_kept_out_of_the_store_and_compared_with_none(tmp_path: Path):
    for name in "ab":
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(8):
            noise = np.random.default_rng([number, ord(name)]).integers(0, 256, (24, 24, 3), np.uint8)
            Image.fromarray(noise).save(tmp_path / "data" / name / f"{number}.png")
        _cut(tmp_path / "data" / name / "cut.jpg", 0.6 if name == "a" else 0.7)
    store = ContentStore(None)
    settings = DataSettings(str(tmp_path / "data"), on_bad=OnBad.PARTIAL, val=0.4)
    report = finish(load_data(settings, store, lambda path: read_image(path).pixels, 0), lambda _: None)
    hashes = {h for split in report.dataset.splits.values() for h in split.hashes}
    assert len(hashes) == 18
    assert sum(h in store for h in hashes) == 16
