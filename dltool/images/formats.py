"""Kinds of image files, told by their suffixes."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from dltool.errors import SettingsError

# What a folder is searched for. A file that is named on the command line is tried whatever its suffix.
_IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"}
    | {".png", ".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp"}
)

# What the package pillow-heif reads besides.
_HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
_HEIF_HINT = "; pip install 'dltool[heif]' reads {} files"

# Pillow's names of the kinds that are read. Not among them, whatever a file is called: PostScript, for which Pillow
# starts Ghostscript, and the kinds that Pillow only hands on to other programs.
_READABLE = (
    *("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "PPM", "AVIF", "JPEG2000", "MPO", "QOI", "ICO", "ICNS"),
    *("PSD", "SGI", "PCX", "DDS", "TGA", "HEIF"),
)

# What can be written: suffix and Pillow's name of the format.
WRITABLE = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}


def reads_heif() -> bool:
    """Whether the package that reads HEIC and HEIF is installed."""
    return find_spec("pillow_heif") is not None


def has_image_suffix(path: Path) -> bool:
    """Whether a file in a folder is to be read, by what it is called."""
    suffix = path.suffix.lower()
    return suffix in _IMAGE_SUFFIXES or (suffix in _HEIF_SUFFIXES and reads_heif())


def missing_reader(suffix: str) -> str:
    """What to install for files of this suffix, as the end of a line; empty where nothing would help."""
    suffix = suffix.lower()
    return _HEIF_HINT.format(suffix) if suffix in _HEIF_SUFFIXES and not reads_heif() else ""


@cache
def readable_formats() -> tuple[str, ...]:
    """What of the kinds that dltool reads this Pillow was built with, as the `formats` of `Image.open`."""
    Image.init()
    if reads_heif():
        from pillow_heif import register_heif_opener

        register_heif_opener()
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
