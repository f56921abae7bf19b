"""Images of 16 bits per channel come in and go out without a loss."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dltool.errors import DataError
from dltool.images.deep import read_deep_image
from dltool.images.png16 import decode_png16, encode_png16
from dltool.images.write import write_image


def _values(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 65536, (7, 11, count)).astype(np.uint16)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_png_keeps_all_bits_and_other_programs_read_it(count: int):
    values = _values(count)
    content = encode_png16(values)
    np.testing.assert_array_equal(decode_png16(content), values)
    with Image.open(io.BytesIO(content)) as image:  # Pillow keeps the upper bytes of all but grey
        image.load()
        seen = np.asarray(image)
    expected = values[..., 0] if count == 1 else values[..., [0, 0, 0, 1]] >> 8 if count == 2 else values >> 8
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_every_filter_is_undone(count: int):
    """A file with one filter per row, in turn, that Pillow reads as we do."""
    values = (np.cumsum(_values(count) % 999, axis=1) + 9000).astype(np.uint16)
    height, width, _ = values.shape
    step = 2 * count
    rows = np.zeros((height + 1, step * (width + 1)), np.int32)
    rows[1:, step:] = values.astype(">u2").reshape(height, -1).view(np.uint8)
    lines = []
    for row in range(1, height + 1):
        now, left, above, between = rows[row, step:], rows[row, :-step], rows[row - 1, step:], rows[row - 1, :-step]
        base = left + above - between
        order = [np.abs(base - one) for one in (left, above, between)]
        paeth = np.where((order[0] <= order[1]) & (order[0] <= order[2]), left,
                         np.where(order[1] <= order[2], above, between))  # fmt: skip
        kind = row % 5
        guess = (0, left, above, (left + above) // 2, paeth)[kind]
        lines.append(bytes([kind]) + ((now - guess) % 256).astype(np.uint8).tobytes())
    plain = encode_png16(values)
    data = zlib.compress(b"".join(lines))
    start = plain.index(b"IDAT") - 4
    chunk = struct.pack(">I", len(data)) + b"IDAT" + data + struct.pack(">I", zlib.crc32(b"IDAT" + data))
    content = plain[:start] + chunk + plain[-12:]
    np.testing.assert_array_equal(decode_png16(content), values)
    with Image.open(io.BytesIO(content)) as image:
        np.testing.assert_array_equal(np.asarray(image), values[..., 0] if count == 1 else values >> 8)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_grey_in_either_kind_of_file(tmp_path: Path, suffix: str):
    values = _values(1)[..., 0]
    write_image(tmp_path / f"a{suffix}", values)
    image = read_deep_image(tmp_path / f"a{suffix}")
    assert image.pixels.dtype == np.uint16
    np.testing.assert_array_equal(image.pixels, np.repeat(values[..., None], 3, 2))


def test_what_a_kind_of_file_cannot_hold_is_rounded_to_eight_bits(tmp_path: Path):
    values = np.full((8, 8, 3), 257 * 100 + 140, np.uint16)
    write_image(tmp_path / "a.webp", values, values[..., 0])
    image = read_deep_image(tmp_path / "a.webp")
    assert image.pixels.dtype == np.uint8
    assert np.abs(image.pixels.astype(int) - 101).max() <= 2


def test_colours_under_transparency_stay_and_what_cannot_be_seen_is_white(tmp_path: Path):
    for kind in (np.uint8, np.uint16):
        white = np.iinfo(kind).max
        pixels = np.full((4, 6, 3), white // 3, kind)
        alpha = np.full((4, 6), white // 2, kind)
        alpha[0] = 0
        write_image(tmp_path / "a.png", pixels, alpha)
        image = read_deep_image(tmp_path / "a.png")
        np.testing.assert_array_equal(image.alpha, alpha)
        assert (image.pixels[0] == white).all()
        assert (image.pixels[1:] == white // 3).all()


def test_eight_bit_and_keyed_files_are_read_as_ever(tmp_path: Path):
    Image.new("RGB", (3, 2), (1, 2, 3)).save(tmp_path / "a.png")
    assert read_deep_image(tmp_path / "a.png").pixels.dtype == np.uint8
    assert decode_png16(b"nonsense") is None


def test_a_damaged_file_is_named(tmp_path: Path):
    content = encode_png16(_values(3))
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"a\.png"):
        read_deep_image(tmp_path / "a.png")
