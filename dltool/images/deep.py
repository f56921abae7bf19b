"""Pictures of 16 bits per channel, for commands that keep them."""

from pathlib import Path

import numpy as np
from PIL import Image

from dltool.errors import DataError
from dltool.images.read import Picture, read_picture

_PNG_DEPTH_AT = 24  # byte of a PNG file that holds the bits per channel
_ORIENTATION = 0x0112


def read_deep_picture(path: Path | str) -> Picture:
    """Decode a picture for a command that gives back as many bits as it got.

    16-bit PNG files and 16-bit grey files of other kinds give uint16 `pixels` and `alpha`; any other picture, one with
    an embedded colour profile among them, is what `read_picture` makes of it. The colours of partly transparent
    pixels are kept; wholly transparent ones are white.

    Raises:
        DataError: as `read_picture`.
    """
    plain = read_picture(path, on_white=False)
    with Image.open(path) as image:
        is_png = image.format == "PNG"
        profile, transparency = image.info.get("icc_profile"), image.info.get("transparency")
        orientation = image.getexif().get(_ORIENTATION, 1)
        deep = _png_depth(path) == 16 if is_png else image.mode.startswith("I;16")
        if not deep or profile or transparency is not None or orientation != 1:
            return plain
        channels = _decode_png(path) if is_png else np.asarray(image).astype(np.uint16)[..., None]
    alpha = None
    if channels.shape[2] in (2, 4):
        channels, alpha = channels[..., :-1].copy(), channels[..., -1].copy()
        channels[alpha == 0] = np.iinfo(np.uint16).max
    pixels = np.broadcast_to(channels, (*channels.shape[:2], 3))
    return Picture(pixels, alpha, plain.size)


def _png_depth(path: Path | str) -> int:
    with Path(path).open("rb") as file:
        return file.read(_PNG_DEPTH_AT + 1)[-1]


def _decode_png(path: Path | str) -> np.ndarray:
    """All channels of a 16-bit PNG as H × W × C uint16; Pillow would keep 8 bits of the coloured ones."""
    import torch
    from torchvision.io import ImageReadMode, decode_png

    data = torch.from_numpy(np.fromfile(path, np.uint8))
    try:
        return decode_png(data, ImageReadMode.UNCHANGED).permute(1, 2, 0).contiguous().numpy()
    except RuntimeError as error:
        raise DataError(f"{path}: damaged picture ({' '.join(str(error).split())[:80]})") from error
