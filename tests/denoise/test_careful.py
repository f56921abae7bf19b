"""What must not be harmed, and what is no noise of a sensor."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from dltool.denoise.careful import is_drawn, replace_wrong, shares_to_take, wrong_pixels
from dltool.images.read import read_image


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    path = Path(__file__).parents[2] / "sample_images" / "photos" / "cat.jpg"
    return read_image(path).pixels[60:220, 60:220]


def _text() -> np.ndarray:
    image = Image.new("RGB", (160, 120), "white")
    ImageDraw.Draw(image).text((5, 5), "Plain text, letter by letter.\n0123456789", fill="black")
    return np.asarray(image)


def test_text_and_pixel_art_are_drawn_photos_are_not(photo: np.ndarray) -> None:
    random = np.random.default_rng(0)
    art = random.integers(0, 256, (9, 3))[random.integers(0, 9, (128, 128))].astype(np.uint8)
    assert is_drawn(_text()) and is_drawn(art)
    assert not is_drawn(photo) and not is_drawn(photo[..., :1])
    assert not is_drawn((_text() + random.normal(0, 3, (120, 160, 3))).clip(0, 255).astype(np.uint8))


def test_a_little_is_spared_and_much_is_taken() -> None:
    white = np.random.default_rng(0).normal(size=(96, 90, 3))
    restored = np.full((96, 90, 3), 30_000, np.uint16)
    for level, least, most in ((0.5, 0, 0), (1.75, 0.3, 0.7), (4, 1, 1)):  # steps of 8 bits
        shares = shares_to_take((restored + 257 * level * white).astype(np.uint16), restored, alike=True)
        assert (shares.shape, least <= shares.min() <= shares.max() <= most) == ((1, 1, 24, 23), True), level


def test_what_is_taken_where_others_as_bright_are_quiet_was_texture() -> None:
    noise = np.random.default_rng(0).normal(0, 8, (128, 128, 3)).round()
    restored = np.full((128, 128, 3), 100, np.uint8)
    texture = noise * (np.arange(128) < 64)[:, None, None]
    assert shares_to_take((restored + texture).astype(np.uint8), restored, alike=True).max() < 0.05
    assert shares_to_take((restored + texture).astype(np.uint8), restored, alike=False)[..., :12, :].min() > 0.99
    uneven = np.where((np.arange(128) < 64)[:, None, None], noise, (noise / 2).round())  # twice as much above
    shares = shares_to_take((restored + uneven).astype(np.uint8), restored, alike=True)
    assert 0.6 < shares[..., :12, :].mean() < 0.7 and shares[..., -12:, :].min() > 0.99
    # A camera's noise may well be stronger where it is brighter, and a JPEG's errors where the edges are.
    restored[:64] = 180
    assert shares_to_take((restored + texture).astype(np.uint8), restored, alike=True)[..., :12, :].min() > 0.99
    blocks = np.kron(np.random.default_rng(1).integers(90, 110, (16, 16, 1)), np.ones((8, 8, 3))).astype(np.uint8)
    assert shares_to_take(blocks, (blocks - texture).astype(np.uint8), alike=True)[..., :12, :].min() > 0.99


def test_salt_and_pepper_is_found_and_replaced(photo: np.ndarray) -> None:
    random = np.random.default_rng(1)
    drawn = random.random(photo.shape[:2])
    noisy = photo.copy()
    noisy[drawn < 0.03], noisy[drawn > 0.97] = 0, 255
    wrong = wrong_pixels(noisy)
    assert wrong is not None
    hit = (drawn < 0.03) | (drawn > 0.97)
    assert wrong[hit].mean() > 0.8 and wrong[~hit].mean() < 0.01
    before, after = (np.square(image.astype(float) - photo).mean() for image in (noisy, replace_wrong(noisy, wrong)))
    assert after < 0.1 * before


def test_photos_text_and_white_noise_have_no_wrong_pixels(photo: np.ndarray) -> None:
    noise = np.random.default_rng(2).normal(0, 1, photo.shape)
    noisy = [(photo + sigma * noise).clip(0, 255).astype(np.uint8) for sigma in (25, 50, 80)]
    yellow = np.where(_text() < 128, [255, 255, 0], [20, 0, 30]).astype(np.uint8)
    for image in (photo, _text(), yellow, *noisy):
        assert wrong_pixels(image) is None


def test_wrong_pixels_side_by_side_are_replaced_too() -> None:
    pixels = np.full((12, 12, 3), 90, np.uint8)
    wrong = np.zeros((12, 12), bool)
    wrong[3:8, 3:8] = True
    pixels[wrong] = 255
    assert (replace_wrong(pixels, wrong) == 90).all()
