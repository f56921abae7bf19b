"""Laws of the noise that photographs have: of the sensor behind its mosaic, of film, of what is left after a JPEG.

Every law's `level` is the noise's standard deviation where white is 1, of mid-grey where it depends on the image.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.autoencoder.jpeg import through_jpeg
from dltool.autoencoder.noise import Gaussian, Noise, blur_kernels, normal, share_mosaic
from dltool.images.tensors import luma

_Choice = TypeVar("_Choice")
_GAMMA = 2.2
_READ_SHARE = 0.25  # of a sensor's noise at mid-grey that does not depend on the light
# What is drawn for an image by `CameraJpeg`.
_ENLARGED = ((1.0, 0.7), (4 / 3, 0.15), (2.0, 0.15))
_SHARPENED, _COMPRESSED, _SUBSAMPLED = 0.2, 0.65, 0.7
_QUALITY = (30.0, 96.0)


class Sensor(Noise):
    """Photons and electrons behind a Bayer mosaic.

    Light y = x^2.2 is counted as k ~ Poisson(y·p) + N(0, r²·p) photons in each pixel of the mosaic, so that mid-grey
    has the standard deviation `level` in x; a quarter of its variance is the electronics' r. What the noise adds is
    interpolated linearly to all three colours, and taken back through x = y^(1/2.2). The image itself stays sharp.
    Grey images have no mosaic.
    """

    name, default, limits = "sensor", 25 / 255, (0.0, 1.0)

    def disturb(self, clean: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
        light = clean.clamp(0, 1) ** _GAMMA
        middle = 0.5**_GAMMA
        # dx/dy at mid-grey turns a standard deviation in x into one in y.
        spread = levels.clamp(min=1e-6) * _GAMMA * 0.5 ** (_GAMMA - 1)
        photons = middle / (spread**2 * (1 - _READ_SHARE))
        counted = torch.poisson(light * photons, generator=generator) / photons
        counted += normal(clean, generator) * spread * math.sqrt(_READ_SHARE)
        noise = counted - light
        if clean.shape[1] == 3:
            noise = share_mosaic(noise, torch.rand(len(clean), 3, generator=generator, device=clean.device))
        return clean + _lift(light + noise) - _lift(light)


class Luminance(Noise):
    """x + n with one n ~ N(0, level²) for all channels of a pixel, as of a grey image or after colour denoising."""

    name, default, limits = "luminance", 20 / 255, (0.0, 1.0)

    def disturb(self, clean: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
        return clean + levels * normal(clean[:, :1], generator)


class Chroma(Noise):
    """Blotches of colour: n ~ N(0, level²) in both colour differences, blurred by 1 to 4 pixels; luma stays."""

    name, default, limits = "chroma", 15 / 255, (0.0, 1.0)

    def disturb(self, clean: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
        if clean.shape[1] == 1:
            return clean.clone()
        radius = 1 + 3 * torch.rand(len(clean), generator=generator, device=clean.device)
        blue, red = _blur(normal(clean[:, :2], generator), radius).mul(levels).split(1, 1)
        return clean + torch.cat((1.402 * red, -0.344 * blue - 0.714 * red, 1.772 * blue), 1) / math.sqrt(2)


class Grain(Noise):
    """Film grain: n ~ N(0, level² · 4x(1 - x)), blurred by 0.4 to 1.3 pixels, nearly the same in all channels.

    It is strongest at mid-grey and fades to black and white, as silver halides' density does.
    """

    name, default, limits = "grain", 20 / 255, (0.0, 1.0)

    def disturb(self, clean: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
        radius = 0.4 + 0.9 * torch.rand(len(clean), generator=generator, device=clean.device)
        shared = normal(clean[:, :1], generator).expand_as(clean)
        own = 0.3 * torch.rand(len(clean), 1, 1, 1, generator=generator, device=clean.device)
        noise = _blur((1 - own**2).sqrt() * shared + own * normal(clean, generator), radius)
        values = clean.clamp(0, 1)
        light = values if clean.shape[1] == 1 else luma(values)
        return clean + 2 * levels * (light * (1 - light)).sqrt() * noise


class Jpeg(Noise):
    """Compression alone: `level` is the quality from 1 to 100; of colour images most keep colours at half the size."""

    name, default, limits = "jpeg", 50.0, (1.0, 100.0)

    def disturb(self, clean: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.rand(len(clean), generator=generator, device=clean.device)
        return through_jpeg(clean, levels.view(-1), drawn < _SUBSAMPLED)


class CameraJpeg(Noise):
    """What people bring: one of the laws for every image, then what cameras and programs do to it.

    The noise is of a sensor (30 %), white (25), of the luminance (15), grain (15), chroma (10) or none (5); 30 % of the
    images get it at 4/3 or twice the size and are scaled down, 20 % are sharpened, all are clipped and rounded to 8
    bits, 65 % compressed by JPEG of quality 30 to 95. Scaling and sharpening are done to the noise alone: the clean
    image is what the scaled and sharpened one would be without noise.
    """

    name, default, limits = "camera-jpeg", 25 / 255, (0.0, 1.0)

    def disturb(self, clean: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.rand(len(clean), 6, generator=generator, device=clean.device)
        noise = torch.zeros_like(clean)
        for size, rows in _divide(drawn[:, 0], _ENLARGED):
            noise[rows] = self._at_size(clean[rows], levels[rows], size, generator)
        sharpened = (drawn[:, 1] < _SHARPENED).to(clean.dtype) * drawn[:, 2]
        noise = noise + sharpened.view(-1, 1, 1, 1) * (noise - _blur(noise, torch.ones_like(sharpened)))
        noisy = (clean + noise).clamp(0, 1).mul(255).round().div(255)
        rows = (drawn[:, 3] < _COMPRESSED).nonzero()[:, 0]
        if len(rows):
            quality = _QUALITY[0] + (_QUALITY[1] - _QUALITY[0]) * drawn[rows, 4]
            noisy[rows] = through_jpeg(noisy[rows], quality, drawn[rows, 5] < _SUBSAMPLED)
        return noisy

    def _at_size(self, clean: Tensor, levels: Tensor, size: float, generator: torch.Generator) -> Tensor:
        """The noise of one of the laws, drawn on an image `size` times as large."""
        height, width = clean.shape[-2:]
        large = (round(height * size), round(width * size))
        image = clean if size == 1 else F.interpolate(clean, large, mode="bilinear", align_corners=False)
        chosen = torch.rand(len(clean), generator=generator, device=clean.device)
        noise = torch.zeros_like(image)
        for law, rows in _divide(chosen, _LAWS):
            noise[rows] = law(0, 1).disturb(image[rows], levels[rows], generator) - image[rows]
        if size == 1:
            return noise
        return F.interpolate(noise, (height, width), mode="bicubic", antialias=True, align_corners=False)

    def test_levels(self) -> tuple[float, ...]:
        """Of a range its middle."""
        return ((self.low + self.high) / 2,)


_LAWS: tuple[tuple[type[Noise], float], ...] = (
    *((Sensor, 0.3), (Gaussian, 0.3), (Luminance, 0.15), (Grain, 0.15), (Chroma, 0.1)),
)


def _divide(drawn: Tensor, choices: Sequence[tuple[_Choice, float]]) -> Iterator[tuple[_Choice, Tensor]]:
    """Each choice with the rows whose number from [0, 1) falls into its share."""
    start = 0.0
    for choice, share in choices:
        rows = ((drawn >= start) & (drawn < start + share)).nonzero()[:, 0]
        start += share
        if len(rows):
            yield choice, rows


def _lift(light: Tensor) -> Tensor:
    """Light to values: y^(1/2.2), continued below zero by its mirror image, so that darkness keeps its mean."""
    return light.sign() * light.abs().clamp(min=1e-8) ** (1 / _GAMMA)


def _blur(noise: Tensor, radius: Tensor) -> Tensor:
    """Blur N × C × H × W noise by Gaussians of N standard deviations in pixels; white noise keeps its own."""
    count, channels = noise.shape[:2]
    reach = min(9, *(side - 1 for side in noise.shape[2:]))
    kernels = blur_kernels(radius, reach, channels)
    flat = noise.reshape(1, count * channels, *noise.shape[2:])
    flat = F.pad(flat, (reach, reach, reach, reach), mode="reflect")
    flat = F.conv2d(flat, kernels[:, :, :, None], groups=count * channels)
    return F.conv2d(flat, kernels[:, :, None, :], groups=count * channels).view(noise.shape)
