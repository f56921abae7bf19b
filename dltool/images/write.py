"""The one writer of images and GIFs: the whole file or none."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dltool.errors import DltoolError
from dltool.files import write_atomically
from dltool.images.formats import image_format
from dltool.images.png16 import encode_png16

_OPTIONS = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "TIFF": {"compression": "tiff_deflate"},
}


def write_image(path: Path, pixels: np.ndarray, alpha: np.ndarray | None = None) -> None:
    """Write sRGB pixels, with an H × W alpha channel of the same type where the format has one.

    Into a JPEG, which has none, transparent pixels go as they are: colours on white.

    Args:
        pixels: H × W × 3 for colour, H × W for grey; uint8, or uint16, which PNG keeps, and TIFF of grey without
            alpha; all else is rounded to 8 bits.

    Raises:
        SettingsError: the suffix names no format.
        DltoolError: the file cannot be written.
    """
    kind = image_format(path)
    if kind == "JPEG":
        alpha = None
    if not keeps_16_bits(path, pixels, alpha):
        pixels, alpha = to_eight_bits(pixels), None if alpha is None else to_eight_bits(alpha)
    elif kind == "PNG":
        channels = np.atleast_3d(pixels)
        write_atomically(path, encode_png16(channels if alpha is None else np.dstack([channels, alpha])))
        return
    image = Image.fromarray(pixels)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **_OPTIONS.get(kind, {}))
    except (OSError, ValueError) as error:  # sides beyond what the kind of file can have
        raise DltoolError(
            f"{path}: {image.width} x {image.height} pixels cannot be written as {kind} ({error})"
        ) from error
    write_atomically(path, buffer.getvalue())


def keeps_16_bits(path: Path, pixels: np.ndarray, alpha: np.ndarray | None) -> bool:
    """Whether `write_image` gives each channel 16 bits: of uint16 pixels, in a kind of file that can hold them."""
    kind = image_format(path)
    holds = kind == "PNG" or (kind == "TIFF" and pixels.ndim == 2 and alpha is None)
    return holds and pixels.dtype == np.uint16


def to_eight_bits(values: np.ndarray) -> np.ndarray:
    """Scale uint16 values to uint8, rounded; uint8 ones are returned as they are."""
    if values.dtype == np.uint8:
        return values
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def write_gif(path: Path, frames: Sequence[np.ndarray], seconds_per_frame: float) -> None:
    """Write equally large H × W × 3 uint8 frames as a GIF that loops for ever.

    Raises:
        DltoolError: the file cannot be written.
    """
    import imageio.v3 as imageio

    milliseconds = round(1000 * seconds_per_frame)
    content = imageio.imwrite("<bytes>", np.stack(frames), extension=".gif", duration=milliseconds, loop=0)
    write_atomically(path, content)
