"""Kinds of image files, told by their suffixes."""

from pathlib import Path

from dltool.errors import SettingsError

# What a folder is searched for. A file that is named on the command line is tried whatever its suffix.
IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"}
    | {".png", ".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp"}
)

# What can be written: suffix and Pillow's name of the format.
WRITABLE = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}


def image_format(path: Path) -> str:
    """Return Pillow's name of the format that `path`'s suffix asks for.

    Raises:
        SettingsError: no format can be told from the suffix; the message lists those that can.
    """
    try:
        return WRITABLE[path.suffix.lower()]
    except KeyError:
        raise SettingsError(f"{path}: cannot write this kind of picture; use {', '.join(WRITABLE)}") from None
