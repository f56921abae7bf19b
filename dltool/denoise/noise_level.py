"""How strong the noise in an image is, told from the image alone."""

from dataclasses import dataclass

import numpy as np

# Daubechies' high-pass filter with two vanishing moments: blind to constants and to slopes.
_HIGH_PASS = np.array([-0.12940952255092145, -0.22414386804185735, 0.836516303737469, -0.48296291314469025], np.float32)
_MEDIAN_OF_NORMAL = 0.6744897501960817  # median of |x| for a standard normal x
_ROUNDING = 1e-6  # of float32 sums, of the largest value
_BLOCK = 16  # coefficients, one for every second pixel
_QUIET_PERCENT = 15
_LEAST_WHITE = 2 / 255  # below it, texture and rounding are as strong
# What white noise of one level in all channels has; a camera's or a JPEG's is off in one by a factor of two or more.
_IN_CHANNELS = 0.85, 1.7  # noise floor over that of the colour differences, where next to no texture is
_AT_HALF_SIZE = 0.88, 1.2
_CUT_OFF = 0.1  # of the values black or white: noise that ends there so often is no longer white


@dataclass(frozen=True)
class NoiseLevel:
    """Standard deviations of the noise of an image, in units of its range [0, 1].

    Attributes:
        fine: as seen between neighbouring pixels; the noise's sigma if it is white.
        coarse: as seen in the image at half its size, times 2; equal to `fine` for white noise and larger for noise
            that neighbouring pixels share, such as a camera's, which interpolates colours and compresses.
    """

    fine: float
    coarse: float


def estimate_sigma(image: np.ndarray) -> float:
    """Standard deviation of the noise in an H × W × C image, in the image's own units; the mean over channels.

    The median of the finest diagonal wavelet coefficients' magnitudes over that of a normal variable: edges are few
    and move it little, noise is everywhere. Blocks of one value (clipped whites and blacks, flat paint) tell nothing
    about noise that was added before clipping, and are left out unless they are nearly all of the image. An image
    with a side below 4, the filter's length, gives 0.

    Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage", 1994.
    """
    if min(image.shape[:2]) < len(_HIGH_PASS):
        return 0.0
    return float(np.mean([_sigma_of_channel(image[..., channel]) for channel in range(image.shape[2])]))


def estimate_noise(image: np.ndarray) -> NoiseLevel:
    """Estimate the noise of an H × W × C image at its own size and at half of it.

    `image` holds uint8, uint16, or floats in [0, 1].
    """
    white = np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1.0
    fine = estimate_sigma(image) / white
    return NoiseLevel(fine, 2 * estimate_sigma(halve(image)) / white)


def noise_floor(image: np.ndarray) -> float:
    """Standard deviation of the noise where an H × W × C image has least of it, in units of its range.

    As `estimate_sigma`, but within blocks of 32 × 32 pixels, of which the quietest sixth counts: texture, which is
    seldom everywhere, is told from noise, which is. Blocks of one value are left out.
    """
    white = np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1.0
    if min(image.shape[:2]) < 2 * _BLOCK + len(_HIGH_PASS):
        return 0.0
    spreads = np.mean([_block_spreads(image[..., channel]) for channel in range(image.shape[2])], axis=0)
    noisy = spreads[spreads > _ROUNDING * white]
    return float(np.percentile(noisy, _QUIET_PERCENT)) / white if noisy.size else 0.0


def color_differences(image: np.ndarray) -> np.ndarray:
    """Red and blue minus green over √2, H × W × 2 float32: photos have little texture there, but all of the noise."""
    values = image.astype(np.float32)
    return (values[..., ::2] - values[..., 1:2]) / np.float32(np.sqrt(2))


def is_white(image: np.ndarray) -> bool:
    """Whether the noise of an H × W × 3 image is white: equal in the channels, and unlike between neighbouring pixels.

    Noise that the channels share is weaker in their differences; noise that pixels share is stronger at half the size;
    and where a file's range cut much of it off, it has another law. `image` holds uint8, uint16, or floats in 0 to 1.
    """
    white = np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1.0
    if image.shape[2] != 3 or ((image == 0) | (image == white)).mean() > _CUT_OFF:
        return False
    colors = color_differences(image)
    own = noise_floor(colors) / white
    if own < _LEAST_WHITE or not _AT_HALF_SIZE[0] < 2 * noise_floor(halve(colors)) / white / own < _AT_HALF_SIZE[1]:
        return False  # most photos; the floor of all channels takes longest
    return _IN_CHANNELS[0] < noise_floor(image) / own < _IN_CHANNELS[1]


def halve(image: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 pixels of an H × W × C image as float32; an odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in image.shape[:2])
    even = image[:height:2, :width:2].astype(np.float32)
    even += image[1:height:2, :width:2]
    even += image[:height:2, 1:width:2]
    even += image[1:height:2, 1:width:2]
    return even / 4


def _sigma_of_channel(values: np.ndarray) -> float:
    details = np.abs(_diagonal_details(values.astype(np.float32)))
    noisy = details[details > _ROUNDING * np.abs(values).max()]
    if noisy.size < details.size / 20:
        return 0.0
    return float(np.median(noisy)) / _MEDIAN_OF_NORMAL


def _block_spreads(values: np.ndarray) -> np.ndarray:
    details = np.abs(_diagonal_details(values.astype(np.float32)))
    rows, columns = (length // _BLOCK for length in details.shape)
    blocks = details[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    return np.median(blocks.swapaxes(1, 2).reshape(rows * columns, -1), axis=1) / _MEDIAN_OF_NORMAL


def _diagonal_details(values: np.ndarray) -> np.ndarray:
    """High-pass along both axes, every second coefficient."""
    for _ in range(2):
        length = (values.shape[0] - len(_HIGH_PASS)) // 2 * 2 + 1
        taps = [weight * values[tap : tap + length : 2] for tap, weight in enumerate(_HIGH_PASS)]
        values = np.sum(taps, axis=0).T
    return values
