"""About seventy small files of every layout, their pixels computed from what was put in, not read back by Pillow."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from dltool.errors import DataError
from dltool.images.deep import read_deep_image
from dltool.images.read import Frames, read_image, read_size

_HEIGHT, _WIDTH = 19, 37
_RAMP = np.linspace(0, 1, _HEIGHT * _WIDTH).reshape(_HEIGHT, _WIDTH)
# Three ramps that differ, so that swapped channels and sides are seen.
_RGB = np.dstack([_RAMP, _RAMP[::-1], _RAMP[:, ::-1] ** 2])
_RGB8 = np.rint(255 * _RGB).astype(np.uint8)
_GREY8 = np.rint(255 * _RAMP).astype(np.uint8)
_DEPTHS = {"u1": 255, "u2": 65535, "u4": 2**32 - 1}


def _grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(values)[..., None], 3, axis=2)


def _tiff(values: np.ndarray, **options: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        pytest.importorskip("tifffile").imwrite(path, values, **options)

    return write


def _png(depth: int, kind: int, rows: np.ndarray, *chunks: tuple[bytes, bytes]) -> Callable[[Path], None]:
    """A PNG by the specification: rows of bytes without filters."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, depth, kind, 0, 0, 0))
    data = np.concatenate([np.zeros((_HEIGHT, 1), np.uint8), rows.reshape(_HEIGHT, -1)], axis=1).tobytes()
    body = b"".join(chunk(*each) for each in chunks) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + body)


def _big_endian(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values.astype(">u2")).view(np.uint8)


def _pnm(head: str, data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(head.encode() + data)


def _bmp(path: Path) -> None:
    rows = np.zeros((_HEIGHT, -(-3 * _WIDTH // 4) * 4), np.uint8)
    rows[:, : 3 * _WIDTH] = _RGB8[::-1, :, ::-1].reshape(_HEIGHT, -1)
    head = struct.pack("<IiiHHIIiiII", 40, _WIDTH, _HEIGHT, 1, 24, 0, rows.size, 0, 0, 0, 0)
    path.write_bytes(struct.pack("<2sIHHI", b"BM", 54 + rows.size, 0, 0, 54) + head + rows.tobytes())


def _saved(image: Image.Image, **options: object) -> Callable[[Path], None]:
    return lambda path: image.save(path, **options)


def _cases() -> dict[str, tuple[Callable[[Path], None], np.ndarray, float]]:
    """By file name: how it is written, the pixels it must have, and how far they may be off."""
    cases: dict[str, tuple[Callable[[Path], None], np.ndarray, float]] = {}
    for kind, most in _DEPTHS.items():
        grey, rgb = (np.rint(most * values).astype(kind) for values in (_RAMP, _RGB))
        for order in "<>":
            name = f"{kind}{'le' if order == '<' else 'be'}"
            of_order = {"byteorder": order}
            cases[f"{name}-grey.tif"] = (_tiff(grey, photometric="minisblack", **of_order), _grey(_GREY8), 0.51)
            cases[f"{name}-white.tif"] = (_tiff(most - grey, photometric="miniswhite", **of_order), _grey(_GREY8), 0.51)
            cases[f"{name}-rgb.tif"] = (_tiff(rgb, photometric="rgb", **of_order), _RGB8, 1)
        for name, options in {
            "deflate": {"compression": "zlib"},
            "predictor": {"compression": "zlib", "predictor": 2},
            "tiles": {"compression": "zlib", "predictor": 2, "tile": (16, 16)},
            "strips": {"rowsperstrip": 4},
        }.items():
            cases[f"{kind}-{name}.tif"] = (_tiff(rgb, photometric="rgb", **options), _RGB8, 1)
        planes = np.ascontiguousarray(rgb.transpose(2, 0, 1))
        cases[f"{kind}-planes.tif"] = (_tiff(planes, photometric="rgb", planarconfig="separate"), _RGB8, 1)
    for kind in ("f2", "f4", "f8"):
        for white in (1.0, 255.0):
            cases[f"{kind}-{white:.0f}-grey.tif"] = (_tiff((white * _RAMP).astype(kind)), _grey(255 * _RAMP), 0.6)
            rgb = (white * _RGB).astype(kind)
            cases[f"{kind}-{white:.0f}-rgb.tif"] = (_tiff(rgb, photometric="rgb"), 255 * _RGB, 0.6)
    cases["f4-white.tif"] = (_tiff((1 - _RAMP).astype("f4"), photometric="miniswhite"), _grey(255 * _RAMP), 0.6)
    cases |= _no_data_cases()
    deep, deep_rgb = np.rint(65535 * _RAMP).astype(np.uint16), np.rint(65535 * _RGB).astype(np.uint16)
    cases["1bit.pbm"] = (_pnm(f"P4 {_WIDTH} {_HEIGHT}\n", np.packbits(_RAMP < 0.5, axis=1).tobytes()),
                         _grey(255 * (_RAMP >= 0.5)), 0)  # fmt: skip
    cases["8.pgm"] = (_pnm(f"P5 {_WIDTH} {_HEIGHT} 255\n", _GREY8.tobytes()), _grey(_GREY8), 0)
    cases["8.ppm"] = (_pnm(f"P6 {_WIDTH} {_HEIGHT} 255\n", _RGB8.tobytes()), _RGB8, 0)
    cases["16.pgm"] = (_pnm(f"P5 {_WIDTH} {_HEIGHT} 65535\n", _big_endian(deep).tobytes()), _grey(_GREY8), 0.51)
    cases["24.bmp"] = (_bmp, _RGB8, 0)
    cases["grey8.png"] = (_png(8, 0, _GREY8), _grey(_GREY8), 0)
    cases["rgb8.png"] = (_png(8, 2, _RGB8), _RGB8, 0)
    cases["grey16.png"] = (_png(16, 0, _big_endian(deep)), _grey(_GREY8), 0.51)
    cases["rgb16.png"] = (_png(16, 2, _big_endian(deep_rgb)), _RGB8, 1)
    bits = np.packbits(_RAMP >= 0.5, axis=1)
    cases["grey1.png"] = (_png(1, 0, bits), _grey(255 * (_RAMP >= 0.5)), 0)
    colors = np.array([[200, 30, 40], [10, 220, 90]], np.uint8)
    palette = (b"PLTE", colors.tobytes())
    cases["palette1.png"] = (_png(1, 3, bits, palette), colors[(_RAMP >= 0.5).astype(int)], 0)
    half = colors[0] * (100 / 255) + 255 * (155 / 255)
    seen = np.where((_RAMP >= 0.5)[..., None], colors[1], half)
    cases["palette-alpha.png"] = (_png(1, 3, bits, palette, (b"tRNS", bytes([100, 255]))), seen, 0.51)
    alpha = _GREY8[:, ::-1]
    laid = _RGB8 * (alpha[..., None] / 255) + 255 - alpha[..., None]
    cases["rgba8.png"] = (_png(8, 6, np.dstack([_RGB8, alpha])), laid, 0.51)
    keyed = np.where(_GREY8 == 0, 255, _GREY8)
    cases["grey-key.png"] = (_png(8, 0, _GREY8, (b"tRNS", b"\0\0")), _grey(keyed), 0)
    laid_grey = _GREY8 * (alpha / 255) + 255 - alpha
    cases["grey-alpha.png"] = (_png(8, 4, np.dstack([_GREY8, alpha])), _grey(laid_grey), 0.51)
    rgb = Image.fromarray(_RGB8)
    for suffix, options in {
        "webp": {"lossless": True}, "jp2": {}, "tga": {}, "qoi": {}, "dib": {}, "ico": {"sizes": [(_WIDTH, _HEIGHT)]},
        "gif": {}, "pcx": {}, "sgi": {},
    }.items():  # fmt: skip
        off = 60 if suffix == "gif" else 0  # 256 colours
        cases[f"rgb.{suffix}"] = (_saved(rgb, **options), _RGB8, off)
    cases["rgb.jpg"] = (_saved(rgb, quality=100, subsampling=0), _RGB8, 4)
    cases["cmyk.jpg"] = (_saved(rgb.convert("CMYK"), quality=100), _RGB8, 5)
    cases["cmyk.tif"] = (_saved(rgb.convert("CMYK")), _RGB8, 1)
    soft = _RGB8 // 2 + 64  # of saturated colours 8 bits of L*a*b* are too few
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    in_lab = ImageCms.profileToProfile(Image.fromarray(soft), srgb, lab, outputMode="LAB")
    cases["lab.tif"] = (_saved(in_lab), soft, 6)
    return cases


def _no_data_cases() -> dict[str, tuple[Callable[[Path], None], np.ndarray, float]]:
    """Heights with holes: what is no data is black, and costs the rest no grey levels."""
    holes = np.zeros((_HEIGHT, _WIDTH), bool)
    holes[4:9, 10:20] = True
    heights = 1200 + 800 * _RAMP
    low, high = np.percentile(heights[~holes], (0.5, 99.5))
    expected = np.where(holes, 0, np.clip(255 * (heights - low) / (high - low), 0, 255))
    cases = {}
    for name, mark, declared in (("repeated", -9999.0, False), ("lowest", -3.4028235e38, False), ("nan", np.nan, False),
                                 ("declared", 1500.0, True)):  # fmt: skip
        for kind in ("f4", "f8"):
            tags = [(42113, "s", 0, f"{mark:g}", True)] if declared else []
            values = np.where(holes, mark, heights).astype(kind)
            cases[f"{name}-{kind}.tif"] = (_tiff(values, extratags=tags), _grey(expected), 1)
    signed = np.where(holes, -32768, heights).astype(np.int16)
    cases["int16.tif"] = (_tiff(signed), _grey(expected), 1.5)
    return cases


_CASES = _cases()


@pytest.mark.parametrize("name", _CASES)
def test_every_layout_has_the_right_pixels(tmp_path: Path, name: str):
    write, expected, off = _CASES[name]
    write(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.pixels.shape == (_HEIGHT, _WIDTH, 3) and image.pixels.dtype == np.uint8
    assert image.size == (_WIDTH, _HEIGHT)
    most = float(np.abs(image.pixels - expected.astype(float)).max())
    assert most <= off


def test_signed_floats_around_zero_are_stretched(tmp_path: Path):
    Image.fromarray((2 * _RAMP - 1).astype(np.float32)).save(tmp_path / "a.tif")
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").pixels[..., 0], _GREY8, atol=3)


def test_alpha_of_a_deep_tiff_is_alpha(tmp_path: Path):
    values = np.rint(65535 * np.dstack([_RGB, _RAMP])).astype(np.uint16)
    _tiff(values, photometric="rgb", extrasamples=["unassalpha"], compression="zlib")(tmp_path / "a.tif")
    image = read_deep_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.alpha, values[..., 3])
    np.testing.assert_array_equal(image.pixels[1:], values[1:, :, :3])
    floats = np.dstack([_RGB, _RAMP]).astype(np.float32)
    _tiff(floats, photometric="rgb", extrasamples=["unassalpha"])(tmp_path / "b.tif")
    np.testing.assert_allclose(read_image(tmp_path / "b.tif").alpha, _GREY8, atol=1)


def _odd_files() -> list[Path]:
    folder = Path(os.environ.get("DLTOOL_TEST_DATA", "")) / "odd"
    return sorted(path for path in folder.rglob("*") if not path.is_dir()) if "DLTOOL_TEST_DATA" in os.environ else []


@pytest.mark.test_data
@pytest.mark.skipif(not _odd_files(), reason="DLTOOL_TEST_DATA has no folder `odd` of any files")
def test_files_of_any_kind_are_read_or_named():
    """Whatever a file holds, reading it ends with pixels or with one line that starts with its name."""
    for path in _odd_files():
        assert read_size(path) is None or min(read_size(path)) >= 0
        for read in (read_image, read_deep_image, lambda path: next(iter(Frames(path)))):
            try:
                read(path)
            except DataError as error:
                assert str(error).startswith(f"{path}: ") and "\n" not in str(error).removeprefix(str(path))
