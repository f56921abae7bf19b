"""Kinds of image files, told by their suffixes."""

from functools import cache
from pathlib import Path

from PIL import Image

from dltool.errors import SettingsError

# What a folder is searched for. A file that is named on the command line is tried whatever its suffix.
IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"}
    | {".png", ".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp"}
)

# Pillow's names of the kinds that are read. Not among them, whatever a file is called: PostScript, for which Pillow
# starts Ghostscript, and the kinds that Pillow only hands on to other programs.
_READABLE = (
    *("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "PPM", "AVIF", "JPEG2000", "MPO", "QOI", "ICO", "ICNS"),
    *("PSD", "SGI", "PCX", "DDS", "TGA"),
)

# What can be written: suffix and Pillow's name of the format.
WRITABLE = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}


@cache
def readable_formats() -> tuple[str, ...]:
    """What of the kinds that dltool reads this Pillow was built with, as the `formats` of `Image.open`."""
    Image.init()
    return tuple(name for name in _READABLE if name in Image.OPEN)


def image_format(path: Path) -> str:
    """Return Pillow's name of the format that `path`'s suffix asks for.

    Raises:
        SettingsError: no format can be told from the suffix; the message lists those that can.
    """
    try:
        return WRITABLE[path.suffix.lower()]
    except KeyError:
        raise SettingsError(f"{path}: cannot write this kind of picture; use {', '.join(WRITABLE)}") from None
