"""The one writer of images and GIFs: the whole file or none."""

import errno
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from dltool.errors import DltoolError
from dltool.files import write_atomically
from dltool.images.animation import Animation, write_animation
from dltool.images.convert import lay_on_white
from dltool.images.formats import image_format
from dltool.images.metadata import NO_METADATA, Metadata, is_grey_profile
from dltool.images.png16 import encode_png16
from dltool.images.tiff import encode_tiff

_LONGEST_JPEG_EXIF = 65_527  # of 65,535 bytes of a segment, its length and `Exif\0\0` taken off
_OPTIONS = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
}


def write_image(
    path: Path, pixels: np.ndarray, alpha: np.ndarray | None = None, metadata: Metadata = NO_METADATA
) -> tuple[str, ...]:
    """Write pixels, with an H × W alpha channel of the same type where the format has one, and what is said of them.

    A JPEG has none: its pixels are laid on white.

    Args:
        pixels: H × W × 3 for colour, H × W for grey; uint8, or uint16, which PNG and TIFF keep; all else is rounded
            to 8 bits. sRGB, or the colours of the metadata's profile.

    Returns:
        What could not be kept in this kind of file, in words.

    Raises:
        SettingsError: the suffix names no format.
        DltoolError: the file cannot be written.
    """
    kind = image_format(path)
    metadata, lost = _fitting(metadata, kind, pixels.ndim == 2)
    if not keeps_16_bits(path, pixels):
        lost += ["16 bits"] if pixels.dtype == np.uint16 else []
        pixels, alpha = to_eight_bits(pixels), None if alpha is None else to_eight_bits(alpha)
    if kind == "JPEG" and alpha is not None:
        pixels, alpha, lost = lay_on_white(pixels, alpha), None, ["transparency", *lost]
    if kind == "TIFF" or pixels.dtype == np.uint16:
        channels = np.atleast_3d(pixels) if alpha is None else np.dstack([pixels, alpha])
        if kind == "TIFF":
            content = encode_tiff(channels, alpha is not None, metadata)
        else:
            content = encode_png16(channels, metadata)
    else:
        content = _encode(path, kind, pixels, alpha, metadata)
    write_atomically(path, content)
    return _not_kept(lost, kind)


def _encode(path: Path, kind: str, pixels: np.ndarray, alpha: np.ndarray | None, metadata: Metadata) -> bytes:
    """Encode 8-bit pixels by Pillow."""
    image = Image.fromarray(pixels)
    if alpha is not None:
        image.putalpha(Image.fromarray(alpha))
    said = {"exif": metadata.exif, "dpi": metadata.dpi, "icc_profile": metadata.profile}
    said = {name: value for name, value in said.items() if value is not None}
    if "exif" in said:
        said["exif"] = b"Exif\0\0" + said["exif"]
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **_OPTIONS.get(kind, {}), **said)
    except (OSError, ValueError) as error:  # sides beyond what the kind of file can have
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            raise
        raise DltoolError(
            f"{path}: {image.width} x {image.height} pixels cannot be written as {kind} ({error})"
        ) from error
    return buffer.getvalue()


def _fitting(metadata: Metadata, kind: str, grey: bool) -> tuple[Metadata, list[str]]:
    """What of the metadata a kind of file can hold, and names of what it cannot."""
    lost = []
    if metadata.dpi is not None and kind == "WEBP":
        metadata, lost = replace(metadata, dpi=None), [*lost, "resolution"]
    if metadata.exif is not None and kind == "JPEG" and len(metadata.exif) > _LONGEST_JPEG_EXIF:
        metadata, lost = replace(metadata, exif=None), [*lost, "EXIF"]
    if metadata.profile is not None and is_grey_profile(metadata.profile) != grey:
        metadata = replace(metadata, profile=None)  # sRGB of grey pixels is what is taken of them anyway
    return metadata, lost


def _not_kept(lost: Sequence[str], kind: str) -> tuple[str, ...]:
    return tuple(f"{what} {'are' if what.endswith('s') else 'is'} not kept in a {kind} file" for what in lost)


def keeps_16_bits(path: Path, pixels: np.ndarray) -> bool:
    """Whether `write_image` gives each channel 16 bits: of uint16 pixels, in a kind of file that can hold them."""
    return image_format(path) in ("PNG", "TIFF") and pixels.dtype == np.uint16


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
    times = [1000 * seconds_per_frame] * len(frames)
    write_animation(path, Animation(frames, [None] * len(frames), times))
