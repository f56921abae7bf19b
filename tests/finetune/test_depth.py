"""Files of 16 bits that use 12 or 14 of them: one white for all of a set, wherever its model is used."""

import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dltool.backbones.preprocessing import Preprocessing
from dltool.data.pixels import PixelReader
from dltool.finetune.classifier_file import load_classifier
from dltool.finetune.score import Scorer
from dltool.finetune.settings import Strategy
from dltool.images.depth import Depth, find_depth, read_pixels
from dltool.images.png16 import encode_png16, significant_bits
from dltool.images.read import read_image
from tests.finetune.conftest import CPU, events_of, quick, result_of


def save_deep(path: Path, values: np.ndarray, sbit: int = 0) -> Path:
    """H × W × C uint16 as a 16-bit PNG, with the chunk that says how many bits are in use."""
    content = encode_png16(values.astype(np.uint16))
    if sbit:
        data = bytes([sbit] * values.shape[2])
        chunk = struct.pack(">I", len(data)) + b"sBIT" + data + struct.pack(">I", zlib.crc32(b"sBIT" + data))
        content = content[:33] + chunk + content[33:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def ramp(top: int, channels: int = 1) -> np.ndarray:
    return np.linspace(0, top, 64).round().astype(np.uint16)[None, :, None].repeat(8, 0).repeat(channels, 2)


@pytest.mark.parametrize(
    ("tops", "bits"), [((4000, 900), 12), ((16000, 3), 14), ((1000, 1001), 10), ((200,), 8), ((4000, 40000), 0)]
)
def test_the_fewest_bits_that_hold_all_files(tmp_path: Path, tops: tuple[int, ...], bits: int) -> None:
    files = [save_deep(tmp_path / f"{top}.png", ramp(top)) for top in tops]
    Image.new("L", (8, 8), 255).save(tmp_path / "plain.png")
    (tmp_path / "broken.png").write_bytes(b"x")
    assert find_depth([*files, tmp_path / "plain.png", tmp_path / "broken.png"]) == Depth(bits, len(files))


def test_what_a_file_says_counts_where_its_values_keep_to_it(tmp_path: Path) -> None:
    dark = save_deep(tmp_path / "dark.png", ramp(900), sbit=12)
    assert significant_bits(dark) == 12 and find_depth([dark]).white == 4095
    scaled = save_deep(tmp_path / "scaled.png", ramp(65535), sbit=12)  # as the PNG specification wants it
    assert find_depth([scaled]).bits == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_white_is_one_for_all(tmp_path: Path, channels: int) -> None:
    bright = save_deep(tmp_path / "a.png", ramp(4095, channels))
    dark = save_deep(tmp_path / "b.png", ramp(1024, channels))
    reader = PixelReader(Preprocessing(8, 8, white=4095))
    assert reader.decode(bright).max() == 255 and read_pixels(dark, None, 4095).max() == 64
    assert read_image(bright).pixels.max() <= 16
    Image.fromarray(ramp(4095)[..., 0]).save(tmp_path / "c.tif")
    assert read_pixels(tmp_path / "c.tif", None, 4095).max() == 255
    with_alpha = np.dstack([ramp(4095, 3), np.full((8, 64), 65535, np.uint16)])
    assert read_pixels(save_deep(tmp_path / "d.png", with_alpha), None, 4095)[0, -1].tolist() == [255] * 3


def test_twelve_bits_are_learnt_and_recognized_like_eight(textures: Path, cache: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for file in sorted(textures.glob("*/*.png")):
        eight = np.asarray(Image.open(file).convert("L")).astype(np.uint16)
        save_deep(data / file.parent.name / file.name, (eight * 16 + 8)[..., None])
    settings = quick(strategy=Strategy.FEATURES)
    events = events_of(data, settings, tmp_path / "run", cache=cache)
    result = result_of(events)
    notes = next(event.notes for event in events if hasattr(event, "notes"))
    assert any("36 pictures of 16 bits use 12 of them: 4095 is white in all" in note for note in notes)
    classifier, file = load_classifier(tmp_path / "run")
    assert file.preprocessing.white == 4095 and result.metrics["accuracy"] >= 0.9
    scorer = Scorer(classifier, CPU)
    photo = sorted((data / "grass").iterdir())[0]
    pixels = scorer.reader.read_file(photo)
    assert np.abs(pixels.mean() - read_image(textures / "grass" / photo.name).pixels.mean()) < 3
    shutil.copy(photo, tmp_path / "alone.png")
    assert scorer.score_pixels([scorer.reader.read_file(tmp_path / "alone.png")]).argmax() == 1
