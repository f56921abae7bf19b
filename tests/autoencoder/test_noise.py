"""Laws of noise: their moments, their strengths, and how they are written."""

import pytest
import torch

from dltool.autoencoder.noise import Gaussian, Noise
from dltool.autoencoder.noise_laws import Mixture, parse_noise
from dltool.errors import SettingsError

GREY = torch.full((64, 3, 48, 48), 0.4)


def apply(text: str, clean: torch.Tensor = GREY, seed: int = 0) -> torch.Tensor:
    noise = parse_noise(text)
    assert noise is not None
    return noise(clean, torch.Generator().manual_seed(seed))


# Standard deviation on a page of grey 0.4: of the law's own formula.
@pytest.mark.parametrize(
    ("text", "mean", "deviation"),
    [
        ("gaussian:0.5", 0.4, 0.5),
        ("gaussian:25/255", 0.4, 25 / 255),
        ("poisson:20", 0.4, (0.4 / 20) ** 0.5),
        ("speckle:0.3", 0.4, 0.4 * 0.3),
        ("salt-pepper:0.2", 0.42, (0.1 * 0.58**2 + 0.1 * 0.42**2 + 0.8 * 0.02**2) ** 0.5),
        ("mask:0.25", 0.3, (0.75 * 0.1**2 + 0.25 * 0.3**2) ** 0.5),
    ],
)
def test_mean_and_deviation(text: str, mean: float, deviation: float) -> None:
    noisy = apply(text)
    assert float(noisy.mean()) == pytest.approx(mean, abs=0.005)
    assert float(noisy.std()) == pytest.approx(deviation, rel=0.02)


def test_gaussian_noise_is_not_clipped() -> None:
    noisy = apply("gaussian:0.5")
    assert noisy.min() < -0.5 and noisy.max() > 1.5


def test_a_range_gives_every_image_its_own_strength() -> None:
    deviations = (apply("gaussian:0-55/255") - GREY).std((1, 2, 3)) * 255
    assert deviations.min() < 6 and deviations.max() > 49 and 20 < deviations.mean() < 35


def test_pixels_are_masked_in_all_channels_at_once() -> None:
    noisy = apply("mask:0.5")
    assert torch.equal(noisy[:, 0], noisy[:, 1])
    salted = apply("salt-pepper:0.5")
    assert salted.unique().tolist() == pytest.approx([0.0, 0.4, 1.0])


def test_camera_noise_is_shared_by_neighbours_and_white_noise_is_not() -> None:
    def neighbours(text: str) -> float:
        noise = apply(text, torch.zeros(200, 3, 32, 32))
        return float((noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean())

    assert abs(neighbours("gaussian:0.1")) < 0.01
    assert neighbours("camera:0.1") > 0.3
    blurred = apply("camera:0.1", torch.zeros(200, 1, 64, 64))[..., 4:-4, 4:-4]
    assert float(blurred.std()) == pytest.approx(0.1, rel=0.03)  # of grey images the deviation is kept


def test_the_generator_decides_everything() -> None:
    text = "gaussian:0-55/255,camera:0-55/255@0.3"
    assert torch.equal(apply(text, seed=3), apply(text, seed=3))
    assert not torch.equal(apply(text, seed=3), apply(text, seed=4))


def test_a_mixture_draws_by_its_shares() -> None:
    noise = parse_noise("gaussian:0.1,mask:1@0.25")
    assert isinstance(noise, Mixture) and noise.shares == (0.75, 0.25)
    noisy = noise(torch.ones(2000, 1, 4, 4), torch.Generator().manual_seed(0))
    assert float((noisy == 0).all((1, 2, 3)).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert list(noise.tests()) == ["gaussian 0.1", "mask 1"]


def test_strengths_to_measure_at() -> None:
    noise = parse_noise("gaussian:0-55/255")
    assert isinstance(noise, Noise)
    assert [round(255 * level) for level in noise.test_levels()] == [15, 25, 50]
    assert parse_noise("none") is None
    assert parse_noise("GAUSSIAN:0.5") == Gaussian(0.5, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gausian", "did you mean 'gaussian'"),
        ("gaussian:loud", "a range 0-0.2"),
        ("gaussian:0.5-0.1", "low-high"),
        ("mask:1.5", "from 0 to 1"),
        ("gaussian:1/0", "give a strength"),
        ("gaussian@0.5,mask@0.2", "do not make a whole"),
        ("gaussian@much", "no share"),
        ("none,mask", "no such law"),
    ],
)
def test_what_is_no_noise_is_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refusal:
        parse_noise(text)
    assert text in str(refusal.value)
