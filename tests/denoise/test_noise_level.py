"""The noise level told from an image alone."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dltool.denoise.noise_level import (
    color_differences,
    estimate_noise,
    estimate_sigma,
    halve,
    is_white,
    noise_floor,
)


@pytest.fixture(scope="module")
def photo(sample_images: Path) -> np.ndarray:
    return np.asarray(Image.open(sample_images / "photos" / "cat.jpg").convert("RGB")) / 255


def _add(photo: np.ndarray, sigma: float) -> np.ndarray:
    return photo + sigma / 255 * np.random.default_rng(0).standard_normal(photo.shape)


@pytest.mark.parametrize("sigma", [10, 25, 50])
def test_known_white_noise_is_found(photo: np.ndarray, sigma: float):
    found = estimate_noise(_add(photo, sigma))
    assert 255 * found.fine == pytest.approx(sigma, rel=0.1)
    assert 1 <= found.coarse / found.fine < 1.35


def test_a_image_of_noise_alone_gives_its_sigma_in_the_images_units():
    noise = np.random.default_rng(0).normal(128, 20, (256, 256, 1))
    assert estimate_sigma(noise) == pytest.approx(20, rel=0.02)
    bytes_ = noise.round().clip(0, 255).astype(np.uint8)
    assert 255 * estimate_noise(bytes_).fine == pytest.approx(20, rel=0.02)
    words = (noise * 257).round().clip(0, 65535).astype(np.uint16)
    assert 255 * estimate_noise(words).fine == pytest.approx(20, rel=0.02)


def test_noise_that_neighbours_share_is_seen_at_half_the_size():
    white = np.random.default_rng(0).normal(0, 0.1, (256, 256, 1))
    shared = sum(np.roll(white, shift, (0, 1)) for shift in [(0, 0), (0, 1), (1, 0), (1, 1)]) / 4
    found = estimate_noise(shared + 0.5)
    assert found.coarse > 2 * found.fine


def test_flat_paint_beside_noise_does_not_hide_it():
    half = np.full((200, 200, 1), 0.5)
    half[:100] += np.random.default_rng(0).normal(0, 0.1, (100, 200, 1))
    assert estimate_sigma(half) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 400, 3), (64, 64, 3)])
def test_flat_and_tiny_images_have_no_noise(shape: tuple[int, ...]):
    found = estimate_noise(np.full(shape, 90, np.uint8))
    assert (found.fine, found.coarse) == (0, 0)


def test_halving_takes_means_of_four():
    np.testing.assert_array_equal(halve(np.arange(15, dtype=np.uint8).reshape(3, 5, 1))[..., 0], [[3, 5]])


@pytest.mark.parametrize("sigma", [5, 15, 40])
def test_scikit_image_finds_the_same(photo: np.ndarray, sigma: float):
    restoration = pytest.importorskip("skimage.restoration")
    pytest.importorskip("pywt")
    noisy = _add(photo, sigma)
    theirs = restoration.estimate_sigma(noisy, channel_axis=-1, average_sigmas=True)
    assert estimate_sigma(noisy) == pytest.approx(theirs, rel=0.03)


def test_the_floor_is_that_of_the_quietest_parts():
    rng = np.random.default_rng(0)
    image = 0.5 + rng.normal(0, 0.1, (320, 320, 1))
    image[:, :100] += rng.normal(0, 0.3, (320, 100, 1))
    assert noise_floor(image) == pytest.approx(0.1, rel=0.1)
    image[:120] = 0.5 + rng.normal(0, 0.02, (120, 320, 1))
    assert noise_floor(image) == pytest.approx(0.02, rel=0.1)
    assert noise_floor(np.full((100, 100, 3), 200, np.uint8)) == 0
    assert noise_floor(np.zeros((20, 400, 1))) == 0


def test_colour_differences_hold_noise_but_no_grey_texture(photo: np.ndarray):
    grey = np.repeat(photo[..., :1], 3, axis=2)
    assert noise_floor(color_differences(grey)) == 0
    assert noise_floor(color_differences(_add(grey, 20))) == pytest.approx(20 / 255, rel=0.1)


@pytest.mark.parametrize(
    ("sigma", "kind"), [(5, np.uint8), (15, np.uint8), (15, np.uint16), (15, np.float32), (50, np.float32)]
)
def test_white_noise_is_known_as_such(photo: np.ndarray, sigma: float, kind: type):
    noisy = _add(photo, sigma)
    white = 1 if kind is np.float32 else np.iinfo(kind).max
    noisy = noisy if white == 1 else (noisy * white).round().clip(0, white)
    assert is_white(noisy.astype(kind))


@pytest.mark.parametrize("kind", ["none", "luminance", "shared by neighbours", "jpeg", "halved", "grey", "cut off"])
def test_other_noise_is_not_taken_for_white(photo: np.ndarray, kind: str):
    random, noise = np.random.default_rng(0), np.zeros(photo.shape)
    match kind:
        case "luminance":
            noise += random.normal(0, 20 / 255, (*photo.shape[:2], 1))
        case "shared by neighbours":
            white = random.normal(0, 20 / 255, photo.shape)
            noise = (white + np.roll(white, 1, 0) + np.roll(white, 1, 1) + np.roll(white, 1, (0, 1))) / 2
        case "jpeg" | "halved" | "grey":
            noise = random.normal(0, 25 / 255, photo.shape)
        case "cut off":
            noise = random.normal(0, 80 / 255, photo.shape)
    noisy = ((photo + noise) * 255).round().clip(0, 255).astype(np.uint8)
    if kind == "jpeg":
        Image.fromarray(noisy).save(file := io.BytesIO(), "JPEG", quality=90)
        noisy = np.asarray(Image.open(file))
    elif kind == "halved":
        noisy = np.asarray(Image.fromarray(noisy).resize((photo.shape[1] * 2 // 3, photo.shape[0] * 2 // 3)))
    assert not is_white(noisy[..., :1] if kind == "grey" else noisy)
