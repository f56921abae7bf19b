"""Taking the noise out of one picture: what is known of the noise, at which sizes to look for it, tile by tile."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.autoencoder.denoise_settings import TRAINED_SIGMA, DenoiseSettings, Method, Scales
from dltool.autoencoder.denoiser import Denoiser
from dltool.autoencoder.noise_level import NoiseLevel, halve, noise_level
from dltool.autoencoder.self_supervised import LearnStep, learn_network
from dltool.autoencoder.tiles import TileDone, restore_in_tiles

_OVERLAP = 48  # pixels that tiles share
_LIMIT_RADIUS = 15  # of the square in which the noise that is taken away is measured, in pixels
_SHARED_NOISE = 2.0  # coarse over fine noise from which neighbouring pixels share it; white noise has 1
_VISIBLE_NOISE = 14 / 255  # coarse noise below this may as well be texture


@dataclass(frozen=True)
class Denoised:
    """What became of a picture.

    Attributes:
        pixels: H × W × C of the type and range of the noisy ones; C is 1 for a picture without colours, else 3.
        noise: found in the noisy picture.
        scales: 0 if the picture was let through, 1 if it was denoised at full size, 2 if at half size first.
        seconds: of work.
    """

    pixels: np.ndarray
    noise: NoiseLevel
    scales: int
    seconds: float


def denoise(
    pixels: np.ndarray, denoiser: Denoiser | None, settings: DenoiseSettings, device: torch.device
) -> Iterator[LearnStep | TileDone | Denoised]:
    """Take the noise out of one picture.

    Args:
        pixels: H × W × 3 uint8 or uint16, sRGB; three equal channels are a grey picture and stay one.
        denoiser: the trained network; None with the method `self`, which learns one on `device`.

    Yields:
        A LearnStep for every step of learning, a TileDone for every tile, and at last the Denoised picture.
    """
    started = time.perf_counter()
    pixels = drop_equal_channels(pixels)
    noise = noise_level(pixels)
    scales = choose_scales(noise, settings)
    result = pixels
    if scales:
        if settings.method is Method.SELF:
            for event in _learn(pixels, scales, settings, device):
                if isinstance(event, Denoiser):
                    denoiser = event
                else:
                    yield event
        assert denoiser is not None
        for event in restore_in_tiles(pixels, _restorer(denoiser, scales, settings), settings.tile, _OVERLAP):
            if isinstance(event, TileDone):
                yield event
            else:
                result = event
    yield Denoised(result, noise, scales, time.perf_counter() - started)


def drop_equal_channels(pixels: np.ndarray) -> np.ndarray:
    """H × W × 3 pixels, or H × W × 1 ones where the three channels are equal."""
    first = pixels[..., 0]
    is_grey = all(np.array_equal(first, pixels[..., channel]) for channel in range(1, pixels.shape[2]))
    return np.ascontiguousarray(pixels[..., :1] if is_grey else pixels)


def choose_scales(noise: NoiseLevel, settings: DenoiseSettings) -> int:
    """How many sizes to denoise a picture at: 0 where nothing is to be done, 1, or 2.

    Neighbouring pixels of a camera's picture share their noise: colours are interpolated from a mosaic, then
    compressed. A network that has learnt to remove white noise takes most of that for texture; in the picture at half
    its size it is nearly white. The same goes for noise that is stronger than what it learnt: halving halves it.
    """
    if settings.strength == 0 or settings.sigma == 0:
        return 0
    if settings.scales is not Scales.AUTO:
        return int(settings.scales.value)
    if settings.sigma is not None and settings.sigma > TRAINED_SIGMA:
        return 2
    return 2 if noise.coarse > max(_VISIBLE_NOISE, _SHARED_NOISE * noise.fine) else 1


def _learn(
    pixels: np.ndarray, scales: int, settings: DenoiseSettings, device: torch.device
) -> Iterator[LearnStep | Denoiser]:
    """Learn a network for the picture; where neighbours share their noise, from the picture at half its size."""
    image = pixels.astype(np.float32) / np.iinfo(pixels.dtype).max
    image = halve(image) if scales == 2 and min(image.shape[:2]) > 1 else image
    for event in learn_network(image, settings.steps, settings.seed, device, settings.time):
        if isinstance(event, LearnStep):
            yield event
        else:
            yield Denoiser(event, image.shape[2], device, ensemble=settings.ensemble)


def _restorer(denoiser: Denoiser, scales: int, settings: DenoiseSettings) -> Callable[[Tensor], Tensor]:
    def restore(noisy: Tensor) -> Tensor:
        image = _restore_coarse(noisy, denoiser) if scales == 2 else noisy
        taken = noisy - denoiser(image)
        if settings.sigma is not None:
            taken = limit_energy(taken, settings.sigma / 255)
        return noisy - settings.strength * taken

    return restore


def _restore_coarse(noisy: Tensor, denoiser: Denoiser) -> Tensor:
    """Take away the noise that is still there at half the size; finer noise and details stay as they are."""
    height, width = noisy.shape[-2:]
    even = F.pad(noisy, (0, width % 2, 0, height % 2), mode="replicate")
    coarse = F.avg_pool2d(even, 2)
    taken = F.interpolate(coarse - denoiser(coarse), scale_factor=2, mode="bilinear", align_corners=False)
    return noisy - taken[..., :height, :width]


def limit_energy(taken: Tensor, sigma: float) -> Tensor:
    """Scale 1 × C × H × W noise down where, around a pixel, its root mean square is above `sigma`.

    So a level that is told is the most that is taken away anywhere: what goes beyond it was no noise, or shall stay.
    """
    energy = taken.square().mean(1, keepdim=True)
    side = 2 * _LIMIT_RADIUS + 1
    around = F.avg_pool2d(energy, side, stride=1, padding=_LIMIT_RADIUS, count_include_pad=False)
    return taken * (sigma / around.sqrt().clamp(min=1e-12)).clamp(max=1)
