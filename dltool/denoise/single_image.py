"""Taking the noise out of one image: what is known of the noise, and what the network makes of it, tile by tile."""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.denoise.careful import STRIP, is_drawn, limit_energy, replace_wrong, shares_to_take, wrong_pixels
from dltool.denoise.denoiser import Denoiser
from dltool.denoise.noise_level import NoiseLevel, color_differences, estimate_noise, halve, noise_floor
from dltool.denoise.self_supervised import LearnStep, learn_network
from dltool.denoise.settings import DenoiseSettings, Dither, Method
from dltool.denoise.tiles import TileDone, restore_in_tiles
from dltool.device import pinned
from dltool.errors import SettingsError
from dltool.images.tensors import is_grey, luma
from dltool.training.seeds import new_generator

_OVERLAP = 48  # pixels that tiles share
_SHARED_NOISE = 2.0  # coarse over fine noise from which neighbouring pixels share it; white noise has 1
_SHARED_LEVEL = 14 / 255  # coarse noise below this may as well be texture
_KEPT_NOISE = 0.75  # of the finest noise: a network that keeps more of it has taken it for texture
_KEPT_LEVEL = 0.3  # of a told level: less is not worth the detail that dithering costs
_COLOR_NOISE = 4 / 255  # in the colour differences at half the size; photos without visible noise stay below
_LEFT_RATIO = 1.2  # drowned over measured noise: too little added costs more than too much
_DITHER_WHITE = 1.5  # white noise over the noise that it drowns
_DITHER_DRAWS = 2
_VISIBLE = 3 / 255  # noise that is worth a word
_LEFT_SHARE = 0.6
_FLOOR_RATIO = 1.06  # white noise's standard deviation over the noise floor that it shows


@dataclass(frozen=True)
class Denoised:
    """What became of an image.

    Attributes:
        pixels: H × W × C of the type and range of the noisy ones; C is 1 for an image without colours, else 3.
        noise, floor: found in the noisy image; the floor is that of its quietest parts.
        dither: level of the noise that was drowned in noise added for it, in units of the range [0, 1].
        left: standard deviation of the noise that is still there in the quietest parts, in the same units.
        wrong: share of the pixels that were black or white errors, and have been replaced.
        drawn: it has so few colours that there is no noise in it, and was left as it is.
        seconds: of work.
    """

    pixels: np.ndarray
    noise: NoiseLevel
    floor: float
    dither: float
    left: float
    wrong: float
    drawn: bool
    seconds: float

    @property
    def keeps_noise(self) -> bool:
        """Whether there was noise for certain, and most of it is still there."""
        return not self.drawn and self.left > max(_VISIBLE, _LEFT_SHARE * self.floor)


def denoise(
    pixels: np.ndarray, denoiser: Denoiser | None, settings: DenoiseSettings, device: torch.device
) -> Generator[LearnStep | TileDone, None, Denoised]:
    """Take the noise out of one image.

    Args:
        pixels: H × W × 3 uint8 or uint16, sRGB; three equal channels are a grey image and stay one.
        denoiser: the trained network; None with the method `self`, which learns one on `device`.

    Yields:
        A LearnStep for every step of learning, a TileDone for every tile (and again where the image is worked on
        once more).

    Raises:
        SettingsError: the method is `network`, and there is none.
    """
    started = time.perf_counter()
    pixels = drop_equal_channels(pixels)
    noise, floor = estimate_noise(pixels), noise_floor(pixels)
    result, dither, wrong, drawn = pixels, 0.0, None, is_drawn(pixels)
    if not drawn and settings.sigma != 0 and (settings.strength > 0 or settings.chroma_strength):
        wrong = wrong_pixels(pixels)
        if wrong is not None:
            pixels = replace_wrong(pixels, wrong)
        if settings.method is Method.SELF:
            restore = yield from _learn(pixels, noise, settings, device)
            result = yield from _apply(pixels, restore, settings, device)
        elif denoiser is None:
            raise SettingsError("--method network: a denoiser is needed; load_denoiser reads one")
        else:
            result, dither = yield from _apply_network(pixels, denoiser, noise, settings)
    share = 0.0 if wrong is None else float(wrong.mean())
    left = floor if result is pixels else noise_floor(result)
    return Denoised(result, noise, floor, dither, left, share, drawn, time.perf_counter() - started)


def _apply_network(
    pixels: np.ndarray, denoiser: Denoiser, noise: NoiseLevel, settings: DenoiseSettings
) -> Generator[TileDone, None, tuple[np.ndarray, float]]:
    """What a trained network makes of an image, and the level of the noise that had to be drowned for it."""
    fitting = denoiser.for_noise_of(pixels)
    ready = _for_pixels(fitting, pixels, noise, settings)
    result = yield from _apply(pixels, ready, settings, denoiser.device, fitting.knows_photos)
    may_dither = settings.dither is Dither.AUTO and not denoiser.knows_photos
    dither = choose_dither(pixels, result, settings) if may_dither else 0.0
    if dither > 0:
        drowned = _drowning(denoiser, pixels, noise, settings, dither)
        result = yield from _apply(pixels, drowned, settings, denoiser.device)
    return result, dither


def drop_equal_channels(pixels: np.ndarray) -> np.ndarray:
    """H × W × 3 pixels, or H × W × 1 ones where the three channels are equal."""
    return np.ascontiguousarray(pixels[..., :1] if is_grey(pixels) else pixels)


def _for_pixels(
    denoiser: Denoiser, pixels: np.ndarray, noise: NoiseLevel, settings: DenoiseSettings, added: float = 0.0
) -> Callable[[Tensor], Tensor]:
    """The network as it is to be used on H × W × C pixels to which white noise of level `added` will be added."""
    if pixels.shape[2] == 3 or denoiser.in_channels == 1 or denoiser.knows_photos:
        return denoiser
    level = max(grey_sigma(pixels, noise), (settings.sigma or 0) / 255)
    return with_color_noise(denoiser, float(np.hypot(level, added)), settings.seed)


def _drowning(
    denoiser: Denoiser, pixels: np.ndarray, noise: NoiseLevel, settings: DenoiseSettings, dither: float
) -> Callable[[Tensor], Tensor]:
    """The network with noise of level `dither` added: in the colours, which costs less detail, where both have them."""
    if pixels.shape[2] == 3 and denoiser.in_channels == 3:
        return with_color_noise(denoiser, dither, settings.seed)
    white = _DITHER_WHITE * dither
    return dithered(_for_pixels(denoiser, pixels, noise, settings, white), white, settings.seed)


def grey_sigma(pixels: np.ndarray, noise: NoiseLevel) -> float:
    """Standard deviation of the noise in H × W × 1 pixels, in units of their range, not misled by texture.

    The noise floor, 6 % up for being the quietest blocks', but no more than the median of all; images too small for
    a floor have the median alone.
    """
    floor = noise_floor(pixels)
    return min(noise.fine, _FLOOR_RATIO * floor) if floor > 0 else noise.fine


def with_color_noise(restore: Callable[[Tensor], Tensor], sigma: float, seed: int) -> Callable[[Tensor], Tensor]:
    """Make a network for colour restore 1 × C × H × W images whose channels share noise of level `sigma`.

    It was taught noise that differs between channels: what all three share is texture to it and stays. All of a grey
    image's noise is so (C = 1), and nearly all of a JPEG's, which keeps colours at half the size. So the image gets
    noise in the colours as strong as what it has in grey: √3 σ along each axis of RGB across the grey one, which makes
    the whole white noise of √3 σ. It sums to zero over the channels.
    """
    random = new_generator(seed, "color noise")

    def colored(image: Tensor) -> Tensor:
        noise = torch.randn((len(image), 3, *image.shape[2:]), generator=random)
        noise = pinned(noise.numpy(), image.device).to(image.device, non_blocking=True)
        noise -= noise.mean(1, keepdim=True)
        restored = restore(image + 3**0.5 * sigma * noise)
        return restored if image.shape[1] == 3 else restored.mean(1, keepdim=True)

    return colored


def choose_dither(noisy: np.ndarray, restored: np.ndarray, settings: DenoiseSettings) -> float:
    """Level of the noise that a network left in an image, H × W × C, and that is to be drowned in more; 0 for none.

    A camera's noise is not white: colours are interpolated from a mosaic, then compressed. What a network cannot tell
    from texture it leaves, above all in the luminance. Added noise drowns it, and is removed with it. The price is fine
    detail, so it is paid only where noise was left for certain: a level was told, or there is noise in the colour
    differences, in which photos have next to no texture.
    """
    if settings.sigma is None and noisy.shape[2] == 1:
        return 0.0
    if noise_floor(restored) < _KEPT_NOISE * noise_floor(noisy):
        return 0.0
    left = _LEFT_RATIO * 2 * noise_floor(halve_to_range(restored))
    if settings.sigma is not None:
        told = settings.sigma / 255
        return min(left, told) if left > _KEPT_LEVEL * told else 0.0
    half = color_differences(halve_to_range(noisy))
    if 2 * noise_floor(half) < _COLOR_NOISE:
        return 0.0
    return min(left, _LEFT_RATIO * 4 * noise_floor(halve(half)))


def halve_to_range(pixels: np.ndarray) -> np.ndarray:
    """Half the size of H × W × C uint8 or uint16 pixels, as float32 in [0, 1]."""
    return halve(pixels) / np.float32(np.iinfo(pixels.dtype).max)


def dithered(restore: Callable[[Tensor], Tensor], sigma: float, seed: int) -> Callable[[Tensor], Tensor]:
    """The mean of what `restore` makes of an image with white noise added, drawn anew each time, from `seed`."""
    random = new_generator(seed, "dither")

    def mean(image: Tensor) -> Tensor:
        draws = (torch.randn(image.shape, generator=random) for _ in range(_DITHER_DRAWS))
        noises = (pinned(draw.numpy(), image.device).to(image.device, non_blocking=True) for draw in draws)
        return sum(restore(image + sigma * noise) for noise in noises) / _DITHER_DRAWS

    return mean


def _apply(
    pixels: np.ndarray,
    restore: Callable[[Tensor], Tensor],
    settings: DenoiseSettings,
    device: torch.device,
    spares_texture: bool = False,
) -> Generator[TileDone, None, np.ndarray]:
    """Restore an image tile by tile, as far as the settings want it; returns the result."""

    def wanted(noisy: Tensor) -> Tensor:
        restored = restore(noisy)
        return restored if settings.sigma is None else noisy - limit_energy(noisy - restored, settings.sigma / 255)

    restored = yield from restore_in_tiles(pixels, wanted, settings.tile, _OVERLAP, device)
    if settings.method is Method.SELF:
        return _take(pixels, restored, torch.ones(1, 1, 1, 1), settings)
    return _take(
        pixels, restored, shares_to_take(pixels, restored, spares_texture and settings.sigma is None), settings
    )


def _take(pixels: np.ndarray, restored: np.ndarray, shares: Tensor, settings: DenoiseSettings) -> np.ndarray:
    """Take from H × W × C pixels the shares, 1 × 1 × h × w, of what was restored, weighed by the settings."""
    height, width = pixels.shape[:2]
    white = np.iinfo(pixels.dtype).max
    if bool((shares == 1).all()) and settings.strength == 1 and settings.chroma_strength in (None, 1):
        return restored
    shares = F.interpolate(shares, size=(height, width), mode="bilinear", align_corners=False)
    for top in range(0, height, STRIP):
        rows = slice(top, top + STRIP)
        taken = torch.from_numpy(pixels[rows].astype(np.float32) - restored[rows].astype(np.float32))
        taken = weigh(taken.permute(2, 0, 1)[None] * shares[:, :, rows], settings)[0].permute(1, 2, 0).numpy()
        restored[rows] = np.rint((pixels[rows] - taken).clip(0, white))
    return restored


def weigh(taken: Tensor, settings: DenoiseSettings) -> Tensor:
    """Of 1 × C × H × W noise as much as the settings want away, of its luma and of its colours."""
    if settings.chroma_strength is None or taken.shape[1] == 1:
        return settings.strength * taken
    light = luma(taken)
    return settings.strength * light + settings.chroma_strength * (taken - light)


def _learn(
    pixels: np.ndarray, noise: NoiseLevel, settings: DenoiseSettings, device: torch.device
) -> Generator[LearnStep, None, Callable[[Tensor], Tensor]]:
    """Learn a network for the image, and return what restores its tiles.

    Where neighbouring pixels share their noise it cannot be told from the image by comparing them; in the image at
    half its size it is nearly white. There the network is learnt, and applied first.
    """
    image = pixels.astype(np.float32) / np.iinfo(pixels.dtype).max
    coarse = shares_noise(noise) and min(image.shape[:2]) > 1
    image = halve(image) if coarse else image
    network = yield from learn_network(image, settings.steps, settings.seed, device, settings.time)
    denoiser = Denoiser(network, image.shape[2], device, ensemble=settings.ensemble)
    return partial(_restore_twice, denoiser) if coarse else denoiser


def _restore_twice(denoiser: Denoiser, noisy: Tensor) -> Tensor:
    return denoiser(restore_coarse(noisy, denoiser))


def shares_noise(noise: NoiseLevel) -> bool:
    """Whether neighbouring pixels share the image's noise, as far as its levels at two sizes tell."""
    return noise.coarse > max(_SHARED_LEVEL, _SHARED_NOISE * noise.fine)


def restore_coarse(noisy: Tensor, restore: Callable[[Tensor], Tensor]) -> Tensor:
    """Take away the noise that is still there at half the size; finer noise and details stay as they are."""
    height, width = noisy.shape[-2:]
    even = F.pad(noisy, (0, width % 2, 0, height % 2), mode="replicate")
    coarse = F.avg_pool2d(even, 2)
    taken = F.interpolate(coarse - restore(coarse), scale_factor=2, mode="bilinear", align_corners=False)
    return noisy - taken[..., :height, :width]
