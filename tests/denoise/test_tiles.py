"""Tiles: windows that sum to one, and an image that comes back as it went in."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from dltool.autoencoder.networks import create_autoencoder
from dltool.denoise.tiles import ALIGNMENT, TileDone, restore_in_tiles, tile_starts, tile_windows
from dltool.events import finish


def _restore(pixels: np.ndarray, restore: Callable[[Tensor], Tensor], tile: int, overlap: int) -> np.ndarray:
    steps: list[TileDone] = []
    result = finish(restore_in_tiles(pixels, restore, tile, overlap), steps.append)
    assert all(isinstance(step, TileDone) for step in steps)
    assert [step.done for step in steps] == list(range(1, steps[-1].total + 1))
    return result


@pytest.mark.parametrize("length", [1, 5, 63, 64, 65, 97, 128, 321, 481, 1000, 4000])
@pytest.mark.parametrize(("tile", "overlap"), [(64, 16), (96, 32), (128, 48), (512, 48)])
def test_windows_sum_to_one_and_no_pixel_lies_in_three_tiles(length: int, tile: int, overlap: int):
    sums, counts = np.zeros(length), np.zeros(length, int)
    for start, window in tile_windows(length, tile, overlap):
        assert start % ALIGNMENT == 0
        assert len(window) <= tile
        assert 0 <= window.min() <= window.max() <= 1
        sums[start : start + len(window)] += window
        counts[start : start + len(window)] += 1
    np.testing.assert_allclose(sums, 1, atol=1e-6)
    assert set(counts) <= {1, 2}


def test_neighbours_share_at_least_the_overlap():
    starts = tile_starts(1000, 96, 20)
    assert all(before + 96 - after >= 20 for before, after in pairwise(starts))
    with pytest.raises(ValueError, match="cannot overlap"):
        tile_starts(1000, 64, 32)


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 4000, 3), (333, 217, 3), (64, 65, 1), (129, 1, 3)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_identity_gives_the_same_image_back(shape: tuple[int, int, int], kind: type):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(kind).max + 1, shape).astype(kind)
    restored = _restore(pixels, lambda image: image, 64, 16)
    assert restored.dtype == kind
    np.testing.assert_array_equal(restored, pixels)


def test_the_network_never_sees_more_than_a_tile():
    seen = []

    def restore(image: Tensor) -> Tensor:
        seen.append(tuple(image.shape))
        return image

    _restore(np.zeros((300, 200, 3), np.uint8), restore, 96, 16)
    assert max(height for _, _, height, _ in seen) == 96
    assert max(width for _, _, _, width in seen) == 96


def test_what_a_network_makes_of_the_borders_of_a_tile_is_not_used():
    """A network that spoils the two outermost pixels of whatever it sees leaves its marks on the image's rim only."""

    def spoil(image: Tensor) -> Tensor:
        spoilt = torch.zeros_like(image)
        spoilt[..., 2:-2, 2:-2] = image[..., 2:-2, 2:-2]
        return spoilt

    restored = _restore(np.full((150, 170, 1), 200, np.uint8), spoil, 64, 16)
    assert (restored[2:-2, 2:-2] == 200).all()


def test_a_network_in_tiles_does_what_it_does_with_the_whole_image():
    torch.manual_seed(0)
    network = create_autoencoder("unet", in_channels=3, channels=[4, 8, 8]).eval()
    pixels = np.random.default_rng(1).integers(0, 256, (140, 170, 3)).astype(np.uint8)

    def restore(image: Tensor) -> Tensor:
        with torch.inference_mode():
            return network(image)

    whole = _restore(pixels, restore, 256, 48)
    tiled = _restore(pixels, restore, 128, 48)
    assert np.abs(whole.astype(int) - tiled).max() <= 1
