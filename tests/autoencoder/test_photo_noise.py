"""The noise of photographs: strengths and statistics as documented, JPEG as Pillow's."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from dltool.autoencoder.jpeg import through_jpeg
from dltool.autoencoder.noise_laws import parse_noise
from dltool.autoencoder.photo_noise import CameraJpeg, Chroma, Grain, Luminance, Sensor

LUMA = torch.tensor([0.299, 0.587, 0.114])


def noise_of(law: object, value: float = 0.5, channels: int = 3) -> torch.Tensor:
    clean = torch.full((8, channels, 96, 96), value)
    return law(clean, torch.Generator().manual_seed(0)) - clean  # type: ignore[operator]


@pytest.mark.parametrize("quality", [10, 30, 75, 95])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_jpeg_is_what_pillow_makes_of_it(sample_images, quality: int, subsampling: int) -> None:
    photo = np.asarray(Image.open(sample_images / "photos" / "cat.jpg").convert("RGB"))[:90, :131]
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=quality, subsampling=subsampling)
    expected = np.asarray(Image.open(file)).astype(np.float32)
    image = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None] / 255
    made = through_jpeg(image, torch.tensor([float(quality)]), torch.tensor([subsampling == 2]))[0]
    made = made.permute(1, 2, 0).numpy() * 255
    error = np.abs(expected - photo).mean()
    assert np.abs(made - expected).mean() < 0.2 * error + 0.4


def test_grey_jpeg(sample_images) -> None:
    photo = np.asarray(Image.open(sample_images / "photos" / "cat.jpg").convert("L"))[:64, :50]
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=40)
    made = through_jpeg(torch.from_numpy(photo.copy())[None, None] / 255, torch.tensor([40.0]), torch.tensor([True]))
    assert np.abs(made[0, 0].numpy() * 255 - np.asarray(Image.open(file))).mean() < 0.3


def test_levels_are_standard_deviations_at_mid_grey() -> None:
    assert noise_of(Luminance(0.1, 0.1)).std() == pytest.approx(0.1, rel=0.02)
    assert noise_of(Grain(0.1, 0.1)).std() == pytest.approx(0.1, rel=0.05)
    assert noise_of(Chroma(0.1, 0.1)).std() == pytest.approx(0.1, rel=0.1)
    assert noise_of(Sensor(0.05, 0.05), channels=1).std() == pytest.approx(0.05, rel=0.03)


def test_what_each_law_touches() -> None:
    luminance = noise_of(Luminance(0.1, 0.1))
    assert torch.allclose(luminance[:, 0], luminance[:, 2], atol=1e-6)
    assert torch.einsum("nchw,c->nhw", noise_of(Chroma(0.1, 0.1)), LUMA).abs().max() < 1e-3
    assert noise_of(Grain(0.1, 0.1), 0.02).std() < 0.4 * noise_of(Grain(0.1, 0.1)).std()
    assert noise_of(Sensor(0.05, 0.05), 0.9, 1).std() < noise_of(Sensor(0.05, 0.05), 0.3, 1).std()
    neighbours = noise_of(Grain(0.1, 0.1))
    assert (neighbours[..., 1:] * neighbours[..., :-1]).mean() > 0.2 * neighbours.square().mean()


def test_camera_jpeg_gives_eight_bits_and_depends_on_the_generator_alone() -> None:
    clean = torch.rand(24, 3, 40, 56, generator=torch.Generator().manual_seed(1))
    law = CameraJpeg(0.05, 0.2)
    first, again = (law(clean, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again) and first.shape == clean.shape
    assert torch.allclose(first * 255, (first * 255).round(), atol=1e-3) and first.min() >= 0 and first.max() <= 1
    assert (first - clean).flatten(1).std(1).min() > 0.01


@pytest.mark.parametrize("name", ["sensor", "luminance", "chroma", "grain", "jpeg:30-90", "camera-jpeg:0-50/255"])
def test_every_law_can_be_named_and_takes_grey_images(name: str) -> None:
    noisy = parse_noise(name)(torch.rand(3, 1, 24, 24), torch.Generator().manual_seed(0))  # type: ignore[misc]
    assert noisy.shape == (3, 1, 24, 24) and noisy.isfinite().all()
