"""How strong the noise in a picture is, told from the picture alone."""

from dataclasses import dataclass

import numpy as np

# Daubechies' high-pass filter with two vanishing moments: blind to constants and to slopes.
_HIGH_PASS = np.array([-0.12940952255092145, -0.22414386804185735, 0.836516303737469, -0.48296291314469025], np.float32)
_MEDIAN_OF_NORMAL = 0.6744897501960817  # median of |x| for a standard normal x
_ROUNDING = 1e-6  # of float32 sums, of the largest value
_MIN_SIDE = 8


@dataclass(frozen=True)
class NoiseLevel:
    """Standard deviations of the noise of a picture, in units of its range [0, 1].

    Attributes:
        fine: as seen between neighbouring pixels; the noise's sigma if it is white.
        coarse: as seen in the picture at half its size, times 2; equal to `fine` for white noise and larger for noise
            that neighbouring pixels share, such as a camera's, which interpolates colours and compresses.
    """

    fine: float
    coarse: float


def estimate_sigma(image: np.ndarray) -> float:
    """Standard deviation of the noise in an H × W × C picture, in the picture's own units; the mean over channels.

    The median of the finest diagonal wavelet coefficients' magnitudes over that of a normal variable: edges are few
    and move it little, noise is everywhere. Blocks of one value (clipped whites and blacks, flat paint) tell nothing
    about noise that was added before clipping, and are left out unless they are nearly all of the picture. A picture
    with a side below 8 gives 0.

    Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage", 1994.
    """
    if min(image.shape[:2]) < _MIN_SIDE:
        return 0.0
    return float(np.mean([_sigma_of_channel(image[..., channel]) for channel in range(image.shape[2])]))


def noise_level(image: np.ndarray) -> NoiseLevel:
    """Estimate the noise of an H × W × C picture at its own size and at half of it.

    `image` holds uint8, uint16, or floats in [0, 1].
    """
    white = np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1.0
    fine = estimate_sigma(image) / white
    return NoiseLevel(fine, 2 * estimate_sigma(halve(image)) / white)


def halve(image: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 pixels of an H × W × C picture as float32; an odd last row or column is left out."""
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


def _diagonal_details(values: np.ndarray) -> np.ndarray:
    """High-pass along both axes, every second coefficient."""
    for _ in range(2):
        length = (values.shape[0] - len(_HIGH_PASS)) // 2 * 2 + 1
        taps = [weight * values[tap : tap + length : 2] for tap, weight in enumerate(_HIGH_PASS)]
        values = np.sum(taps, axis=0).T
    return values
