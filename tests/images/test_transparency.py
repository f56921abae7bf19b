import numpy as np
import torch

from dltool.images.read import DecodedImage
from dltool.images.transparency import cut_to_visible, fill_transparent, visible_share


def _image(pixels: np.ndarray, alpha: np.ndarray | None) -> DecodedImage:
    return DecodedImage(pixels, alpha, pixels.shape[1::-1])


def test_what_is_transparent_takes_the_colours_of_what_is_seen_beside_it():
    pixels = np.full((37, 50, 3), 255, np.uint8)
    alpha = np.zeros((37, 50), np.uint8)
    pixels[:, :10], alpha[:, :10] = (200, 30, 40), 255
    pixels[:, 40:], alpha[:, 40:] = (20, 60, 120), 255
    filled = fill_transparent(_image(pixels, alpha))
    assert np.array_equal(filled.alpha, alpha)
    assert np.array_equal(filled.pixels[alpha > 0], pixels[alpha > 0])
    assert filled.pixels.min(axis=(0, 1)).tolist() == [20, 30, 40]
    assert filled.pixels.max(axis=(0, 1)).tolist() == [200, 60, 120], "no white comes in"
    assert np.abs(filled.pixels[:, 12].astype(int) - (200, 30, 40)).max() < 40
    assert np.abs(filled.pixels[:, 38].astype(int) - (20, 60, 120)).max() < 40


def test_half_transparent_pixels_keep_their_own_colours():
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    alpha = np.full((9, 12), 100, np.uint8)
    alpha[0, 0] = 0
    filled = fill_transparent(_image(pixels, alpha)).pixels
    assert np.array_equal(filled[alpha > 0], pixels[alpha > 0])
    image = _image(pixels, np.zeros((9, 12), np.uint8))
    assert fill_transparent(image) is image, "nothing to fill with"


def test_a_rectangle_is_cut_out_of_a_transparent_ground():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    alpha = np.zeros((20, 30), np.uint8)
    alpha[3:9, 5:25] = 180
    alpha[2, :] = 20  # a faint shadow
    part = cut_to_visible(_image(pixels, alpha))
    assert np.array_equal(part.pixels, pixels[3:9, 5:25])
    assert part.size == (20, 6)
    assert visible_share(part.alpha) is None, "all of it counts alike"
    torch.testing.assert_close(visible_share(alpha)[0, 0, 3, 5:7], torch.ones(2))
    assert visible_share(alpha)[0, 0, 0].max() == 0
    assert visible_share(np.zeros((2, 2), np.uint8)).max() == 0
    assert visible_share(None) is None
