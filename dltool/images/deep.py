"""Images of 16 bits per channel, for commands that keep them."""

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import UnidentifiedImageError

from dltool.errors import DataError
from dltool.images.convert import orientation, upright
from dltool.images.metadata import is_grey_profile
from dltool.images.png16 import decode_png16
from dltool.images.read import DecodedImage, open_image, read_image
from dltool.images.tiff import read_tiff

_PNG_DEPTH_AT = 24  # byte of a PNG file that holds the bits per channel
_BITS_PER_SAMPLE = 258
_WHITE = np.iinfo(np.uint16).max


def read_deep_image(path: Path | str) -> DecodedImage:
    """Decode an image for a command that gives back as many bits as it got.

    16-bit PNG and TIFF files of grey or RGB, and 16-bit grey files of other kinds, give uint16 `pixels` and `alpha`,
    in the colours of an embedded profile, which stands in `metadata`; any other image is what `read_image` makes of
    it. The colours of partly transparent pixels are kept; wholly transparent ones are white.

    Raises:
        DataError: as `read_image`.
    """
    plain = read_image(path, on_white=False)
    try:
        channels, profile, lies = read_channels(path)
    except (ValueError, KeyError, zlib.error, struct.error, OSError) as error:  # though Pillow could read it
        raise DataError(f"{path}: damaged picture ({' '.join(str(error).split())})") from error
    if channels is None:
        return plain
    channels = upright(channels, lies)
    alpha = None
    if channels.shape[2] in (2, 4):
        channels, alpha = channels[..., :-1].copy(), channels[..., -1].copy()
        channels[alpha == 0] = _WHITE
    if profile and is_grey_profile(profile) != (channels.shape[2] == 1):
        profile = None  # it fits other pixels
    pixels = np.broadcast_to(channels, (*channels.shape[:2], 3))
    notes = tuple(note for note in plain.notes if "bits" not in note)
    metadata = replace(plain.metadata, profile=profile or None)
    return replace(plain, pixels=pixels, alpha=alpha, metadata=metadata, notes=notes)


def read_channels(path: Path | str) -> tuple[np.ndarray | None, bytes | None, int]:
    """H × W × C uint16 as they lie in the file, None where it has no 16 bits; its profile; how it lies."""
    try:
        with open_image(path) as image:
            kind, lies, profile = image.format, orientation(image), image.info.get("icc_profile")
            if kind == "PNG":
                return _decode_png(path), profile, lies
            grey = np.asarray(image).astype(np.uint16)[..., None] if image.mode.startswith("I;16") else None
            if kind != "TIFF" or set(image.tag_v2.get(_BITS_PER_SAMPLE, ())) != {16}:
                return grey, profile, lies
    except UnidentifiedImageError:  # a TIFF of a layout that Pillow does not know
        grey, profile, lies = None, None, 1
    tiff = read_tiff(path)
    if tiff is None or tiff.values.dtype != np.uint16:
        return grey, profile, lies
    channels = np.ascontiguousarray(tiff.values)
    if tiff.min_white:
        colors = slice(0, channels.shape[2] - tiff.has_alpha)
        channels[..., colors] = _WHITE - channels[..., colors]
    return channels, tiff.profile, tiff.orientation


def _decode_png(path: Path | str) -> np.ndarray | None:
    with Path(path).open("rb") as file:
        start = file.read(_PNG_DEPTH_AT + 1)
        return decode_png16(start + file.read()) if start[-1] == 16 else None
