"""Learning to denoise from the one noisy image itself."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dltool.denoise.measure import measure_quality
from dltool.denoise.noise_level import estimate_noise
from dltool.denoise.self_supervised import LearnStep, diagonal_pair, learn_network, zero_shot_loss
from dltool.denoise.settings import DenoiseSettings, Method
from dltool.denoise.single_image import Denoised, denoise, shares_noise
from dltool.denoise.tiles import TileDone
from dltool.events import finish
from tests.denoise.denoisers import CPU, noisy_pixels, photo_pixels


def _denoise(pixels: np.ndarray, **settings: object) -> tuple[list[LearnStep], Denoised]:
    events: list[LearnStep | TileDone] = []
    result = finish(denoise(pixels, None, DenoiseSettings(method=Method.SELF, **settings), CPU), events.append)
    return [event for event in events if isinstance(event, LearnStep)], result


def test_the_pair_are_the_means_of_the_diagonals():
    first, second = diagonal_pair(torch.tensor([[[[1.0, 2.0], [3.0, 5.0]]]]))
    assert (first.item(), second.item()) == (3.0, 2.5)


def test_a_network_that_finds_no_noise_pays_for_the_difference_of_the_pair():
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    class Nothing(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(images)

    first, second = diagonal_pair(image)
    assert float(zero_shot_loss(Nothing(), image)) == pytest.approx(float((first - second).square().mean()), rel=1e-5)


@pytest.mark.parametrize("grey", [False, True])
def test_noise_of_a_photo_goes_without_any_training_data(sample_images: Path, grey: bool):
    clean = photo_pixels(sample_images)
    clean = np.repeat(clean[..., 1:2], 3, axis=2) if grey else clean
    noisy = noisy_pixels(clean[..., :1], 30).repeat(3, 2) if grey else noisy_pixels(clean, 30)
    steps, result = _denoise(noisy, steps=150)
    assert [step.step for step in steps] == list(range(1, 151))
    assert np.mean([s.loss for s in steps[-20:]]) < 0.7 * np.mean([s.loss for s in steps[:5]])
    assert result.pixels.shape[2] == (1 if grey else 3)
    restored = np.broadcast_to(result.pixels, clean.shape)
    assert measure_quality(restored, clean).psnr > measure_quality(noisy, clean).psnr + 3


def test_the_same_seed_gives_the_same_image(sample_images: Path):
    noisy = noisy_pixels(photo_pixels(sample_images, 48), 30)
    once, again, other = (_denoise(noisy, steps=5, seed=seed)[1].pixels for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()


def test_time_bounds_learning_and_the_rate_still_ends_low():
    pixels = np.random.default_rng(0).random((40, 40, 1)).astype(np.float32)
    steps = list(learn_network(pixels, 10**6, 0, CPU, 0.3))
    assert 1 <= len(steps) < 10**6
    assert all(after.step == before.step + 1 for before, after in pairwise(steps))


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 60, 3), (301, 5, 3)])
def test_small_and_narrow_images_keep_their_size(shape: tuple[int, ...]):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    _, result = _denoise(pixels, steps=2, tile=128)
    assert result.pixels.shape[:2] == shape[:2]


def test_noise_that_neighbours_share_is_learnt_at_half_the_size():
    coarse = np.kron(np.random.default_rng(0).normal(0, 40, (40, 41, 3)), np.ones((2, 2, 1)))[:, :81]
    noisy = (128 + coarse).round().clip(0, 255).astype(np.uint8)
    assert shares_noise(estimate_noise(noisy))
    _, result = _denoise(noisy, steps=150)
    assert result.pixels.shape == noisy.shape
    assert result.pixels.std() < 0.5 * noisy.std()
