"""The one writer of pictures and GIFs: the whole file or none."""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dltool.files import write_atomically
from dltool.images.formats import picture_format

_OPTIONS = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "TIFF": {"compression": "tiff_deflate"},
}


def write_picture(path: Path, pixels: np.ndarray, alpha: np.ndarray | None = None) -> None:
    """Write sRGB pixels, with an H × W alpha channel of the same type where the format has one.

    Into a JPEG, which has none, transparent pixels go as they are: colours on white.

    Args:
        pixels: H × W × 3 for colour, H × W for grey; uint8, or uint16, which PNG keeps, and TIFF of grey without
            alpha; all else is rounded to 8 bits.

    Raises:
        SettingsError: the suffix names no format.
        DltoolError: the file cannot be written.
    """
    kind = picture_format(path)
    if kind == "JPEG":
        alpha = None
    if not keeps_16_bits(path, pixels, alpha):
        pixels, alpha = to_eight_bits(pixels), None if alpha is None else to_eight_bits(alpha)
    elif kind == "PNG":
        write_atomically(path, _png_of_16_bits(pixels, alpha))
        return
    image = Image.fromarray(pixels)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    buffer = io.BytesIO()
    image.save(buffer, kind, **_OPTIONS.get(kind, {}))
    write_atomically(path, buffer.getvalue())


def keeps_16_bits(path: Path, pixels: np.ndarray, alpha: np.ndarray | None) -> bool:
    """Whether `write_picture` gives each channel 16 bits: of uint16 pixels, in a kind of file that can hold them."""
    kind = picture_format(path)
    holds = kind == "PNG" or (kind == "TIFF" and pixels.ndim == 2 and alpha is None)
    return holds and pixels.dtype == np.uint16


def to_eight_bits(values: np.ndarray) -> np.ndarray:
    """Scale uint16 values to uint8, rounded; uint8 ones are returned as they are."""
    if values.dtype == np.uint8:
        return values
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _png_of_16_bits(pixels: np.ndarray, alpha: np.ndarray | None) -> bytes:
    """Encode uint16 pixels, which Pillow does for grey only (PNG specification, third edition, sections 5 and 11)."""
    channels = np.atleast_3d(pixels)
    if alpha is not None:
        channels = np.dstack([channels, alpha])
    height, width, count = channels.shape
    # Each value minus its left neighbour's, byte by byte: the filter "Sub", which halves the size of photos.
    rows = channels.astype(">u2").reshape(height, -1).view(np.uint8)
    filtered = rows.copy()
    filtered[:, 2 * count :] -= rows[:, : -2 * count]
    content = np.concatenate([np.ones((height, 1), np.uint8), filtered], axis=1).tobytes()
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[count]
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(content, 6)), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def write_gif(path: Path, frames: Sequence[np.ndarray], seconds_per_frame: float) -> None:
    """Write equally large H × W × 3 uint8 frames as a GIF that loops for ever.

    Raises:
        DltoolError: the file cannot be written.
    """
    import imageio.v3 as imageio

    milliseconds = round(1000 * seconds_per_frame)
    content = imageio.imwrite("<bytes>", np.stack(frames), extension=".gif", duration=milliseconds, loop=0)
    write_atomically(path, content)
