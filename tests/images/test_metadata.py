"""What a photo's file says beside its pixels goes into the file that is written back."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from dltool.images.deep import read_deep_image
from dltool.images.metadata import Metadata, is_srgb
from dltool.images.read import read_image
from dltool.images.write import write_image

_ORIENTATION, _ARTIST, _EXPOSURE, _LATITUDE = 0x0112, 0x013B, 0x829A, 2


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[_ARTIST], exif[_ORIENTATION] = "Käthe".encode(), 6
    exif.get_ifd(ExifTags.IFD.Exif).update({_EXPOSURE: 0.004, 0xA002: 40, 0xA003: 30, 0x927C: b"maker\0note"})
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", _LATITUDE: (52.0, 31.0, 12.5)})
    return exif


def _profile(space: str = "RGB") -> bytes:
    """A profile that does not call itself sRGB; with `GRAY` in its header it is one for grey to whom asks that."""
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for old, new in ((b"sRGB", b"mine"), ("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))):
        content = content.replace(old, new)
    return content[:16] + space.ljust(4).encode() + content[20:]


def _values(channels: int) -> np.ndarray:
    return np.random.default_rng(channels).integers(0, 65536, (70, 90, channels)).astype(np.uint16)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_exif_and_resolution_of_a_jpeg_come_back_upright(tmp_path: Path, suffix: str):
    Image.new("RGB", (40, 30), (200, 30, 40)).save(tmp_path / "a.jpg", exif=_exif(), dpi=(300, 300))
    image = read_image(tmp_path / "a.jpg")
    lost = write_image(tmp_path / f"b{suffix}", image.pixels, None, image.metadata)
    assert lost == (("resolution is not kept in a WEBP file",) if suffix == ".webp" else ())
    with Image.open(tmp_path / f"b{suffix}") as back:
        assert back.size == (30, 40)
        exif = back.getexif()
        assert exif[_ARTIST].encode("latin-1").decode() == "Käthe"
        assert exif.get(_ORIENTATION, 1) == 1
        inner = exif.get_ifd(ExifTags.IFD.Exif)
        assert float(inner[_EXPOSURE]) == pytest.approx(0.004)
        assert inner[0x927C] == b"maker\0note" and 0xA002 not in inner
        assert [float(v) for v in exif.get_ifd(ExifTags.IFD.GPSInfo)[_LATITUDE]] == [52.0, 31.0, 12.5]
        if suffix != ".webp":
            assert [round(float(value)) for value in back.info["dpi"]] == [300, 300]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_with_profile_exif_and_resolution_come_back(tmp_path: Path, suffix: str, channels: int):
    values = _values(channels)
    grey, alpha = channels < 3, values[..., -1] if channels in (2, 4) else None
    colors = values[..., 0] if grey else values[..., :3]
    if alpha is not None:
        alpha |= 1
    Image.new("L", (4, 4)).save(tmp_path / "e.jpg", exif=_exif())
    exif = read_image(tmp_path / "e.jpg").metadata.exif
    metadata = Metadata(exif, (300.0, 150.0), _profile("GRAY" if grey else "RGB"))
    assert write_image(tmp_path / f"a{suffix}", colors, alpha, metadata) == ()
    image = read_deep_image(tmp_path / f"a{suffix}")
    assert image.pixels.dtype == np.uint16 and image.notes == ()
    np.testing.assert_array_equal(image.pixels, np.repeat(values[..., :1], 3, 2) if grey else colors)
    np.testing.assert_array_equal(image.alpha, alpha)
    assert image.metadata.profile == metadata.profile
    assert image.metadata.dpi == pytest.approx((300, 150), abs=0.05)
    assert image.metadata.exif_tags() == metadata.exif_tags()
    write_image(tmp_path / f"b{suffix}", image.pixels[..., 0] if grey else image.pixels, image.alpha, image.metadata)
    assert (tmp_path / f"b{suffix}").read_bytes() == (tmp_path / f"a{suffix}").read_bytes()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_other_programs_read_16_bit_tiff(tmp_path: Path, channels: int):
    tifffile = pytest.importorskip("tifffile")
    values = _values(channels)
    alpha = values[..., 3] if channels == 4 else None
    write_image(tmp_path / "a.tif", values[..., 0] if channels == 1 else values[..., :3], alpha)
    np.testing.assert_array_equal(np.atleast_3d(tifffile.imread(tmp_path / "a.tif")), values)
    with Image.open(tmp_path / "a.tif") as image:
        seen = np.atleast_3d(np.asarray(image))
    np.testing.assert_array_equal(seen, values if channels == 1 else values >> 8)


def test_a_16_bit_rgb_png_and_tiff_with_a_profile_are_denoised_in_their_own_colours(tmp_path: Path):
    for suffix in (".png", ".tif"):
        write_image(tmp_path / f"a{suffix}", _values(3), None, Metadata(profile=_profile()))
        np.testing.assert_array_equal(read_deep_image(tmp_path / f"a{suffix}").pixels, _values(3))


def test_eight_bit_colours_of_a_profile_are_srgb_and_say_so(tmp_path: Path):
    Image.new("RGB", (4, 4), (200, 30, 40)).save(tmp_path / "a.png", icc_profile=_profile())
    image = read_image(tmp_path / "a.png")
    assert is_srgb(image.metadata.profile)
    write_image(tmp_path / "b.jpg", image.pixels, None, image.metadata)
    with Image.open(tmp_path / "b.jpg") as back:
        assert is_srgb(back.info["icc_profile"])
    write_image(tmp_path / "grey.jpg", image.pixels[..., 0], None, image.metadata)
    with Image.open(tmp_path / "grey.jpg") as back:
        assert "icc_profile" not in back.info


def test_what_cannot_be_kept_is_said(tmp_path: Path):
    assert write_image(tmp_path / "a.jpg", _values(3), _values(1)[..., 0]) == (
        "transparency is not kept in a JPEG file",
        "16 bits are not kept in a JPEG file",
    )
    long = Metadata(exif=b"II*\0" + bytes(70_000))
    assert write_image(tmp_path / "b.jpg", np.zeros((4, 4), np.uint8), None, long) == (
        "EXIF is not kept in a JPEG file",
    )
    frames = [Image.new("RGB", (8, 8), (value, 0, 0)) for value in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.gif").notes == ("only the first of its frames",)
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "a.tif").notes == ("only the first of its pages",)
    write_image(tmp_path / "deep.png", _values(3))
    assert read_image(tmp_path / "deep.png").notes == ("8 bits of its 16 or more",)
    assert read_image(tmp_path / "b.jpg").notes == ()


def test_damaged_exif_costs_the_exif_alone(tmp_path: Path):
    Image.new("RGB", (4, 4), (9, 9, 9)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\0\1")
    image = read_image(tmp_path / "a.jpg")
    assert image.pixels[0, 0, 0] == 9
    write_image(tmp_path / "b.jpg", image.pixels, None, image.metadata)
