"""Denoising one image: what is done with what is known of the noise, and what is kept."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from dltool.autoencoder.networks import create_autoencoder
from dltool.denoise.careful import limit_energy
from dltool.denoise.denoiser import SHIPPED_DENOISER, SHIPPED_WHITE, SYMMETRIES, Denoiser, load_denoiser
from dltool.denoise.measure import measure_quality
from dltool.denoise.noise_level import NoiseLevel, estimate_noise
from dltool.denoise.settings import DenoiseSettings, Dither, compare_path
from dltool.denoise.single_image import (
    Denoised,
    choose_dither,
    denoise,
    drop_equal_channels,
    grey_sigma,
    restore_coarse,
    shares_noise,
    with_color_noise,
)
from dltool.errors import ModelError, SettingsError
from dltool.events import finish
from dltool.images.quality import psnr, ssim
from dltool.training.model_file import ModelFile, save_model
from tests.denoise.denoisers import CPU, Smooth, noisy_pixels, photo_pixels, save_smoother, smooth_denoiser


@pytest.fixture(scope="module")
def clean(sample_images: Path) -> np.ndarray:
    return photo_pixels(sample_images)


def _run(pixels: np.ndarray, denoiser: Denoiser, **settings: object) -> Denoised:
    return finish(denoise(pixels, denoiser, DenoiseSettings(**settings), CPU))


def test_noise_goes_and_its_level_is_told(clean: np.ndarray):
    noisy = noisy_pixels(clean, 40)
    result = _run(noisy, smooth_denoiser())
    assert (result.pixels.shape, result.pixels.dtype, result.dither) == (clean.shape, np.uint8, 0)
    assert 255 * result.noise.fine == pytest.approx(40, rel=0.15)
    assert measure_quality(result.pixels, clean).psnr > measure_quality(noisy, clean).psnr + 5


def test_strength_goes_from_the_noisy_to_the_restored_image(clean: np.ndarray):
    noisy = noisy_pixels(clean, 40)
    full = _run(noisy, smooth_denoiser()).pixels.astype(float)
    half = _run(noisy, smooth_denoiser(), strength=0.5).pixels
    np.testing.assert_allclose(half, (full + noisy) / 2, atol=1.01)
    np.testing.assert_array_equal(_run(noisy, smooth_denoiser(), strength=0).pixels, noisy)


def test_a_told_level_is_the_most_that_is_taken_away(clean: np.ndarray):
    noisy = noisy_pixels(clean, 40)

    def taken(sigma: float | None) -> float:
        return float((noisy - _run(noisy, smooth_denoiser(), sigma=sigma).pixels.astype(float)).std())

    assert taken(0) == 0
    assert taken(10) == pytest.approx(10, rel=0.1)
    blind, told = _run(noisy, smooth_denoiser()).pixels, _run(noisy, smooth_denoiser(), sigma=50).pixels
    assert taken(None) > 30
    np.testing.assert_array_equal(blind, told)


def test_limiting_scales_by_the_energy_around_a_pixel():
    taken = torch.zeros(1, 1, 100, 100)
    taken[..., :50] = 0.2
    limited = limit_energy(taken, 0.1)
    assert float(limited[0, 0, 50, 10]) == pytest.approx(0.1, rel=1e-4)
    assert (limited[..., 50:] == 0).all()
    assert torch.equal(limit_energy(taken, 0.3), taken)


@pytest.mark.parametrize(("fine", "coarse", "shared"), [(25, 27, False), (1, 8, False), (6, 18, True), (40, 45, False)])
def test_noise_is_shared_where_half_the_size_shows_more_of_it(fine: float, coarse: float, shared: bool):
    assert shares_noise(NoiseLevel(fine / 255, coarse / 255)) == shared


def test_coarse_noise_goes_at_half_the_size():
    coarse = torch.randn(1, 3, 24, 25, generator=torch.Generator().manual_seed(0))
    noisy = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)[..., :-1]
    left = restore_coarse(noisy, torch.zeros_like)
    assert left.shape == noisy.shape
    assert float(left.std()) < 0.7 * float(noisy.std())
    torch.testing.assert_close(restore_coarse(noisy, lambda image: image), noisy)


class _WhiteOnly(nn.Module):
    """Takes away what a pixel differs from the mean of its neighbours, but for noise that they share."""

    def forward(self, images: Tensor) -> Tensor:
        context = nn.functional.avg_pool2d(nn.functional.pad(images, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
        rough = (images - images.roll(1, -1)).std() > 0.12
        return context if rough else images


def _grainy(colour: bool, side: int = 160) -> np.ndarray:
    """An image of noise in grains of two pixels on a slope, each colour its own, or all the same."""
    rng = np.random.default_rng(0)
    grains = rng.normal(0, 20, (side // 2, side // 2, 3 if colour else 1))
    noise = np.kron(grains, np.ones((2, 2, 1))) + rng.normal(0, 4, (side, side, grains.shape[2]))
    return (np.linspace(90, 150, side)[:, None, None] + noise + np.zeros(3)).round().clip(0, 255).astype(np.uint8)


def test_noise_that_a_network_leaves_is_drowned_in_added_noise():
    slope = np.broadcast_to(np.linspace(90, 150, 160)[:, None, None], (160, 160, 3)).round().astype(np.uint8)
    denoiser = Denoiser(_WhiteOnly(), 3, CPU)
    off = _run(_grainy(True), denoiser, dither=Dither.OFF)
    auto = _run(_grainy(True), denoiser)
    assert off.dither == 0
    assert 10 < 255 * auto.dither < 80
    assert measure_quality(auto.pixels, slope).psnr > measure_quality(off.pixels, slope).psnr + 2
    np.testing.assert_array_equal(auto.pixels, _run(_grainy(True), denoiser).pixels)
    assert (auto.pixels != _run(_grainy(True), denoiser, seed=1).pixels).any()


def test_grey_grain_may_be_texture_and_is_left_unless_a_level_is_told():
    denoiser = Denoiser(_WhiteOnly(), 1, CPU)
    assert _run(_grainy(False), denoiser).dither == 0
    assert 255 * _run(_grainy(False), denoiser, sigma=20).dither == pytest.approx(20, rel=0.2)
    assert 255 * _run(_grainy(False), denoiser, sigma=15).dither == 15
    assert _run(_grainy(False), denoiser, sigma=200).dither == 0


def test_neither_noise_that_went_nor_a_clean_photo_is_dithered(clean: np.ndarray):
    large = np.tile(clean, (2, 2, 1))
    noisy = noisy_pixels(large, 30)
    assert choose_dither(noisy, large, DenoiseSettings()) == 0
    assert choose_dither(large, large, DenoiseSettings()) == 0


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize("grey", [False, True])
def test_colour_and_grey_through_either_network(clean: np.ndarray, in_channels: int, grey: bool):
    pixels = np.repeat(clean[..., :1], 3, axis=2) if grey else clean
    result = _run(pixels, smooth_denoiser(in_channels)).pixels
    padded = np.pad(pixels.astype(float), ((1, 1), (1, 1), (0, 0)), "edge")
    expected = sum(padded[i : i + 96, j : j + 96] for i in range(3) for j in range(3)) / 9
    assert result.shape[2] == (1 if grey else 3)
    np.testing.assert_allclose(result, expected[..., : result.shape[2]], atol=0.51)


def test_only_equal_channels_are_dropped(clean: np.ndarray):
    assert drop_equal_channels(clean).shape == clean.shape
    almost = np.repeat(clean[..., :1], 3, axis=2)
    almost[5, 5, 2] ^= 1
    assert drop_equal_channels(almost).shape == clean.shape


def test_sixteen_bits_keep_what_eight_would_round_away():
    ramp = np.linspace(20000, 20400, 128).astype(np.uint16)
    pixels = np.broadcast_to(ramp[None, :, None], (64, 128, 3))
    result = _run(pixels, smooth_denoiser())
    assert result.pixels.dtype == np.uint16
    np.testing.assert_allclose(result.pixels[:, 1:-1, 0], np.broadcast_to(ramp, (64, 128))[:, 1:-1], atol=2)


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 4000, 3), (2, 3, 3), (200, 1, 3)])
def test_any_shape_comes_back_in_its_size(shape: tuple[int, ...]):
    torch.manual_seed(0)
    network = create_autoencoder("unet", in_channels=3, channels=[4, 8, 8])
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    for ensemble in (False, True):
        result = _run(pixels, Denoiser(network, 3, CPU, ensemble=ensemble), tile=128)
        assert result.pixels.shape[:2] == shape[:2]


def test_tiles_change_nothing(clean: np.ndarray, sample_images: Path):
    large = noisy_pixels(np.tile(clean, (2, 3, 1)), 20)
    whole = _run(large, smooth_denoiser()).pixels.astype(int)
    tiled = _run(large, smooth_denoiser(), tile=128).pixels
    assert np.abs(whole - tiled).max() <= 1


def test_the_ensemble_averages_eight_turned_answers(clean: np.ndarray):
    class Shift(nn.Module):
        """One pixel to the right: what turns and flips do is undone only if each has its own inverse."""

        def forward(self, images: Tensor) -> Tensor:
            return images.roll(1, -1)

    image = torch.from_numpy(clean / 255.0).permute(2, 0, 1).unsqueeze(0).float()
    mean = Denoiser(Shift(), 3, CPU, ensemble=True)(image)
    neighbours = sum(image.roll(step, dim) for step in (1, -1) for dim in (-1, -2)) / 4
    torch.testing.assert_close(mean, neighbours)
    assert all(torch.equal(undo(do(image)), image) for do, undo in SYMMETRIES)


def test_a_model_file_denoises_as_its_network(tmp_path: Path, clean: np.ndarray):
    image = torch.from_numpy(clean / 255.0).permute(2, 0, 1).unsqueeze(0).float()
    for channels in (1, 3):
        denoiser = load_denoiser(save_smoother(tmp_path / "model.safetensors", channels), CPU)
        inner = (..., slice(1, -1), slice(1, -1))
        torch.testing.assert_close(denoiser(image)[inner], smooth_denoiser()(image)[inner])
    torch.testing.assert_close(load_denoiser(tmp_path, CPU)(image), denoiser(image))


def test_a_model_for_one_size_is_refused(tmp_path: Path):
    arguments = {"in_channels": 1, "height": 28, "width": 28}
    network = create_autoencoder("stacked", **arguments)
    save_model(tmp_path / "m.safetensors", ModelFile("ae", "stacked", arguments, dict(network.state_dict())))
    with pytest.raises(ModelError, match="28 x 28 pixels only"):
        load_denoiser(tmp_path / "m.safetensors", CPU)


@pytest.mark.parametrize(
    "wrong", [{"sigma": -1}, {"strength": 1.5}, {"tile": 64}, {"steps": 0}, {"sigma": float("nan")}]
)
def test_settings_out_of_range_are_named(wrong: dict[str, float]):
    with pytest.raises(SettingsError, match=f"--{next(iter(wrong))}"):
        DenoiseSettings(**wrong)


@pytest.mark.parametrize("shape", [(5, 7, 3), (11, 40, 1), (300, 30, 3), (600, 20, 1)])
def test_quality_in_bands_is_that_of_the_whole(shape: tuple[int, ...]):
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 256, shape).astype(np.uint8) for _ in range(2))
    whole = [torch.from_numpy(pixels / 255.0).permute(2, 0, 1).unsqueeze(0) for pixels in (one, other)]
    found = measure_quality(one, other)
    assert found.psnr == pytest.approx(float(psnr(*whole)), abs=1e-4)
    assert found.ssim == pytest.approx(float(ssim(*whole)), abs=1e-5)
    assert measure_quality(one, one).psnr == float("inf")


@pytest.mark.skipif(not SHIPPED_DENOISER.exists(), reason="the trained denoiser is not in this checkout")
@pytest.mark.parametrize(("sigma", "gain"), [(15, 5.5), (25, 7.0), (50, 9.0)])
def test_the_shipped_denoiser_is_blind_to_the_level(clean: np.ndarray, sigma: float, gain: float):
    noisy = noisy_pixels(clean, sigma)
    denoiser = load_denoiser(SHIPPED_DENOISER, CPU)
    restored = measure_quality(_run(noisy, denoiser).pixels, clean).psnr
    assert restored > measure_quality(noisy, clean).psnr + gain
    assert sum(path.stat().st_size for path in (SHIPPED_DENOISER, SHIPPED_WHITE)) <= 8_000_000
    assert measure_quality(_run(clean, denoiser).pixels, clean).psnr > 36


def test_white_noise_has_a_network_of_its_own(clean: np.ndarray):
    class Black(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return 0 * images

    denoiser = Denoiser(Smooth(), 3, CPU, knows_photos=True, white=Denoiser(Black(), 3, CPU))
    shared = (clean + np.random.default_rng(0).normal(0, 25, (*clean.shape[:2], 1))).round().clip(0, 255)
    assert _run(noisy_pixels(clean, 25), denoiser).pixels.mean() < 1
    assert _run(shared.astype(np.uint8), denoiser).pixels.mean() > 50


def test_color_noise_makes_grey_noise_white_and_leaves_with_the_mean():
    grey = 0.5 + 0.1 * torch.randn(1, 1, 200, 200, generator=torch.Generator().manual_seed(0))
    seen = []

    def restore(image: Tensor) -> Tensor:
        seen.append(image)
        return image

    torch.testing.assert_close(with_color_noise(restore, 0.1, 0)(grey), grey)
    covariance = torch.cov(seen[0].reshape(3, -1))
    torch.testing.assert_close(covariance, 0.03 * torch.eye(3), atol=1e-3, rtol=0)


def test_grey_noise_is_measured_beside_texture(clean: np.ndarray):
    def measured(pixels: np.ndarray) -> float:
        return 255 * grey_sigma(pixels, estimate_noise(pixels))

    grey = clean[..., :1]
    for sigma in (15, 25, 50):
        assert measured(noisy_pixels(grey, sigma)) == pytest.approx(sigma, rel=0.12)
    texture = np.random.default_rng(0).integers(0, 256, (128, 128, 1)).astype(np.uint8)
    texture[:, :50] = noisy_pixels(np.full((128, 50, 1), 128), 2)
    assert measured(texture) < 4 < 20 < 255 * estimate_noise(texture).fine
    assert measured(noisy_pixels(np.full((5, 4000, 1), 128), 25)) == pytest.approx(25, rel=0.1)


@pytest.mark.skipif(not SHIPPED_DENOISER.exists(), reason="the trained denoiser is not in this checkout")
@pytest.mark.parametrize(("sigma", "gain"), [(15, 4.5), (50, 8.0)])
def test_the_shipped_denoiser_cleans_grey_images(clean: np.ndarray, sigma: float, gain: float):
    grey = clean[..., 1:2].repeat(3, 2)
    noisy = noisy_pixels(clean[..., 1:2], sigma).repeat(3, 2)
    denoiser = load_denoiser(SHIPPED_DENOISER, CPU)
    restored = _run(noisy, denoiser).pixels
    assert restored.shape[2] == 1
    assert measure_quality(restored.repeat(3, 2), grey).psnr > measure_quality(noisy, grey).psnr + gain
    assert measure_quality(_run(grey, denoiser).pixels.repeat(3, 2), grey).psnr > 36


def test_the_page_of_before_and_after_is_a_jpeg_beside_a_jpeg():
    assert [compare_path(Path(name)) for name in ("a/b.jpg", "a/b.png", "b.tif")] == [
        Path("a/b__compare.jpg"),
        Path("a/b__compare.png"),
        Path("b__compare.png"),
    ]


@pytest.mark.skipif(not SHIPPED_DENOISER.exists(), reason="the trained denoiser is not in this checkout")
def test_the_shipped_denoiser_cleans_a_jpeg_that_keeps_colours_at_half_the_size(sample_images: Path):
    clean = photo_pixels(sample_images, 192)
    buffer = io.BytesIO()
    Image.fromarray(noisy_pixels(clean, 25)).save(buffer, "JPEG", quality=90, subsampling="4:2:0")
    noisy = np.asarray(Image.open(buffer))
    result = _run(noisy, load_denoiser(SHIPPED_DENOISER, CPU))
    assert result.dither == 0  # the network knows such noise: nothing has to be drowned
    assert measure_quality(result.pixels, clean).psnr > 6 + measure_quality(noisy, clean).psnr


@pytest.mark.parametrize("kind", ["luminance", "grey"])
def test_the_shipped_denoiser_knows_noise_that_channels_share(sample_images: Path, kind: str):
    clean = photo_pixels(sample_images, 192)
    if kind == "grey":
        clean = np.broadcast_to(clean.mean(2, keepdims=True).round().astype(np.uint8), clean.shape)
    noise = np.random.default_rng(0).normal(0, 20, (*clean.shape[:2], 1))
    noisy = (clean + noise).clip(0, 255).round().astype(np.uint8)
    restored = np.broadcast_to(_run(noisy, load_denoiser(SHIPPED_DENOISER, CPU)).pixels, clean.shape)
    assert measure_quality(restored, clean).psnr > 6 + measure_quality(noisy, clean).psnr


def test_a_network_is_needed_unless_one_learns_from_the_image(clean: np.ndarray):
    with pytest.raises(SettingsError, match="a denoiser is needed"):
        _run(clean, None)
