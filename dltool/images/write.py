"""The one writer of pictures and GIFs: the whole file or none."""

import io
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
    """Write H × W × 3 uint8 sRGB pixels, with an H × W uint8 alpha channel where the format has one.

    Into a JPEG, which has none, transparent pixels go as they are: colours on white.

    Raises:
        SettingsError: the suffix names no format.
        DltoolError: the file cannot be written.
    """
    kind = picture_format(path)
    image = Image.fromarray(pixels)
    if alpha is not None and kind != "JPEG":
        image.putalpha(Image.fromarray(alpha))
    buffer = io.BytesIO()
    image.save(buffer, kind, **_OPTIONS.get(kind, {}))
    write_atomically(path, buffer.getvalue())


def write_gif(path: Path, frames: Sequence[np.ndarray], seconds_per_frame: float) -> None:
    """Write equally large H × W × 3 uint8 frames as a GIF that loops for ever.

    Raises:
        DltoolError: the file cannot be written.
    """
    import imageio.v3 as imageio

    milliseconds = round(1000 * seconds_per_frame)
    content = imageio.imwrite("<bytes>", np.stack(frames), extension=".gif", duration=milliseconds, loop=0)
    write_atomically(path, content)
