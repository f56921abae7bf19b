"""Every kind of image file becomes the right colours, upright."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from dltool.errors import DataError
from dltool.images.read import read_image

RED = (200, 30, 40)


def _halves() -> np.ndarray:
    """An image of 40 x 20 whose left half is red and whose right half is light grey."""
    pixels = np.full((20, 40, 3), 220, np.uint8)
    pixels[:, :20] = RED
    return pixels


def test_plain_rgb_is_unchanged(tmp_path: Path):
    Image.fromarray(_halves()).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image.pixels, _halves())
    assert image.alpha is None
    assert image.size == (40, 20)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = Image.fromarray(_halves())
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.jpg", quality=98, subsampling=0, exif=exif)
    image = read_image(tmp_path / "a.jpg", longest_side=10)
    assert image.size == (40, 20)
    height, width = image.pixels.shape[:2]
    assert width == 2 * height
    np.testing.assert_allclose(image.pixels[height // 2, width // 4], RED, atol=6)


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png").pixels
    np.testing.assert_array_equal(pixels[0, :, 0], np.arange(256))
    assert (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_float_images_are_scaled_by_their_range(tmp_path: Path, white: float):
    ramp = np.linspace(0, white, 256, dtype=np.float32)[None].repeat(4, 0)
    ramp[1, 0] = np.nan
    Image.fromarray(ramp).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels[0, :, 1], np.arange(256))


def test_a_few_highlights_do_not_make_a_float_image_dark(tmp_path: Path):
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(8, 0)
    ramp[0, 10], ramp[0, 11], ramp[0, 12], ramp[0, 13] = 1.3, 300.0, np.inf, -np.inf
    Image.fromarray(ramp).save(tmp_path / "a.tif")
    ramp[0, 13] = 0
    pixels = read_image(tmp_path / "a.tif").pixels
    Image.fromarray(ramp).save(tmp_path / "b.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif").pixels[1, :, 0], np.arange(256))
    assert list(pixels[0, 10:14, 0]) == [255, 255, 255, 0]


def test_cmyk_palette_grey_and_bilevel_become_rgb(tmp_path: Path):
    image = Image.fromarray(_halves())
    image.convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    image.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "a.png")
    image.convert("L").save(tmp_path / "grey.png")
    image.convert("1").save(tmp_path / "b.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg").pixels[10, 5], RED, atol=8)
    np.testing.assert_allclose(read_image(tmp_path / "a.png").pixels[10, 5], RED, atol=2)
    assert read_image(tmp_path / "grey.png").pixels.shape == (20, 40, 3)
    assert read_image(tmp_path / "b.png").pixels.shape == (20, 40, 3)


def test_transparent_pixels_lie_on_white_and_alpha_is_kept(tmp_path: Path):
    alpha = np.zeros((20, 40), np.uint8)
    alpha[:, :20], alpha[:, 20:30] = 255, 128
    image = Image.fromarray(np.zeros((20, 40, 3), np.uint8))
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "a.png")
    photo = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(photo.alpha, alpha)
    assert [tuple(photo.pixels[5, x]) for x in (5, 25, 35)] == [(0,) * 3, (127,) * 3, (255,) * 3]


def test_a_transparent_palette_colour_is_alpha(tmp_path: Path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([9, 9, 9, 200, 30, 40])
    image.putpixel((0, 0), 0)
    image.save(tmp_path / "a.png", transparency=0)
    photo = read_image(tmp_path / "a.png")
    assert photo.alpha is not None
    assert (photo.alpha[0, 0], photo.alpha[1, 1]) == (0, 255)
    assert tuple(photo.pixels[1, 1]) == RED


def test_an_embedded_profile_is_converted_to_srgb(tmp_path: Path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    image = Image.fromarray(_halves())
    in_lab = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), lab, outputMode="LAB")
    in_lab.save(tmp_path / "a.tif", icc_profile=lab.tobytes())
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").pixels[10, 5], RED, atol=3)


def test_a_profile_that_does_not_fit_is_ignored(tmp_path: Path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.fromarray(_halves()).convert("L").save(tmp_path / "a.png", icc_profile=srgb)
    Image.fromarray(_halves()).save(tmp_path / "b.png", icc_profile=b"no profile at all")
    assert read_image(tmp_path / "a.png").pixels[10, 30, 0] == 220
    assert tuple(read_image(tmp_path / "b.png").pixels[10, 5]) == RED


def test_an_animation_gives_its_first_frame(tmp_path: Path):
    frames = [Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), (0, 0, 255))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(read_image(tmp_path / "a.gif").pixels[4, 4], RED, atol=4)


def test_a_large_jpeg_is_decoded_reduced_but_never_below_twice_the_target(tmp_path: Path, sample_images: Path):
    image = Image.open(sample_images / "photos" / "china.jpg").resize((2400, 1600))
    image.save(tmp_path / "big.jpg", quality=95)
    reduced = read_image(tmp_path / "big.jpg", longest_side=256)
    assert reduced.size == (2400, 1600)
    assert 512 <= max(reduced.pixels.shape) < 2400
    whole = np.asarray(image.resize((256, 171), Image.Resampling.LANCZOS), np.float32)
    small = np.asarray(reduced.image.resize((256, 171), Image.Resampling.LANCZOS), np.float32)
    assert np.abs(whole - small).mean() < 1.5
    assert read_image(tmp_path / "big.jpg", shortest_side=256).pixels.shape[0] >= 512


def test_broken_files_are_named_with_what_is_wrong(tmp_path: Path, sample_images: Path):
    jpeg = (sample_images / "photos" / "cat.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.png")
    for name, message in (
        ("half.jpg", "damaged picture .*truncated"),
        ("text.jpg", "not a picture"),
        ("empty.png", "not a picture"),
        ("missing.png", "no such file"),
        ("pipe.png", "not a regular file"),
        (".", "a folder"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            read_image(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_the_limit_against_decompression_bombs_says_how_to_raise_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    Image.new("L", (300, 300)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    monkeypatch.setenv("DLTOOL_MAX_PIXELS", "50000")
    with pytest.raises(DataError, match=r"more than 50,000 pixels.*DLTOOL_MAX_PIXELS=N"):
        read_image(tmp_path / "a.png")
    monkeypatch.setenv("DLTOOL_MAX_PIXELS", "100000")
    assert read_image(tmp_path / "a.png").size == (300, 300)
