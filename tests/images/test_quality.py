"""PSNR and SSIM against their formula and against scikit-image."""

import numpy as np
import pytest
import torch

from dltool.images.quality import psnr, ssim


def test_psnr_of_a_known_error() -> None:
    clean = torch.full((2, 3, 5, 7), 0.5)
    noisy = clean.clone()
    noisy[0] += 0.1
    assert psnr(noisy, clean).tolist() == pytest.approx([20.0, float("inf")], abs=1e-5)


@pytest.mark.parametrize("shape", [(3, 40, 33), (1, 11, 12)])
def test_ssim_is_scikit_images(shape: tuple[int, int, int]) -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    random = np.random.default_rng(0)
    clean = random.random((2, *shape))
    noisy = (clean + random.normal(0, 0.1, clean.shape)).clip(0, 1)
    options = {"data_range": 1.0, "gaussian_weights": True, "use_sample_covariance": False, "channel_axis": 0}
    expected = [metrics.structural_similarity(a, b, sigma=1.5, **options) for a, b in zip(noisy, clean, strict=True)]
    assert ssim(torch.from_numpy(noisy), torch.from_numpy(clean)).tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (3, 40)])
def test_ssim_knows_small_images(size: tuple[int, int]) -> None:
    image = torch.rand(2, 1, *size)
    assert ssim(image, image).tolist() == pytest.approx([1.0, 1.0])
    assert (ssim(1 - image, image) < 1).all()
