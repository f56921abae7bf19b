"""Images of 16 bits per channel, for commands that keep them."""

import struct
import zlib
from pathlib import Path

import numpy as np

from dltool.errors import DataError
from dltool.images.png16 import decode_png16
from dltool.images.read import DecodedImage, open_image, read_image

_PNG_DEPTH_AT = 24  # byte of a PNG file that holds the bits per channel
_ORIENTATION = 0x0112


def read_deep_image(path: Path | str) -> DecodedImage:
    """Decode an image for a command that gives back as many bits as it got.

    16-bit PNG files and 16-bit grey files of other kinds give uint16 `pixels` and `alpha`; any other image, one with
    an embedded colour profile among them, is what `read_image` makes of it. The colours of partly transparent
    pixels are kept; wholly transparent ones are white.

    Raises:
        DataError: as `read_image`.
    """
    plain = read_image(path, on_white=False)
    with open_image(path) as image:
        is_png = image.format == "PNG"
        may_be_deep = is_png or image.mode.startswith("I;16")
        if not may_be_deep or image.info.get("icc_profile") or image.getexif().get(_ORIENTATION, 1) != 1:
            return plain
        channels = _decode_png(path) if is_png else np.asarray(image).astype(np.uint16)[..., None]
    if channels is None:
        return plain
    alpha = None
    if channels.shape[2] in (2, 4):
        channels, alpha = channels[..., :-1].copy(), channels[..., -1].copy()
        channels[alpha == 0] = np.iinfo(np.uint16).max
    pixels = np.broadcast_to(channels, (*channels.shape[:2], 3))
    return DecodedImage(pixels, alpha, plain.size)


def _decode_png(path: Path | str) -> np.ndarray | None:
    with Path(path).open("rb") as file:
        start = file.read(_PNG_DEPTH_AT + 1)
        if start[-1] != 16:
            return None
        content = start + file.read()
    try:
        return decode_png16(content)
    except (ValueError, zlib.error, struct.error) as error:  # though Pillow could read it
        raise DataError(f"{path}: damaged picture ({error})") from error
