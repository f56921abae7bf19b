"""What a photo's file says beside its pixels, to be carried over into the file that is written back."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from PIL import ExifTags, Image, ImageCms

_EXIF_START = b"Exif\0\0"
_IFD = ExifTags.IFD
# Tags of the first directory that speak of the photo, not of how this file stores it. Orientation is not among them:
# pixels are written upright; nor is resolution, which has its own place in every kind of file.
_ABOUT_THE_PHOTO = frozenset(
    {0x010D, 0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298}
    | {_IFD.Exif, _IFD.GPSInfo}
    | set(range(0x9C9B, 0x9CA0))
)
_RESOLUTION, _RESOLUTION_UNIT = (0x011A, 0x011B), 0x0128
_PIXEL_SIZE = (0xA002, 0xA003)  # of the file that was read


@dataclass(frozen=True)
class Metadata:
    """What is kept of a file beside its pixels.

    Attributes:
        exif: an EXIF block as it follows `Exif\\0\\0`, without orientation, resolution, size and thumbnail; or None.
        dpi: pixels per inch along the width and the height, or None.
        profile: the ICC profile of the pixels as they were given back; None where the file had none.
    """

    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    profile: bytes | None = None

    def exif_tags(self) -> dict[int, Any]:
        """The tags of the first directory; those of others are dicts in it."""
        if self.exif is None:
            return {}
        tags = Image.Exif()
        tags.load(_EXIF_START + self.exif)
        return _resolved(tags)


NO_METADATA = Metadata()


def read_metadata(image: Image.Image, profile: bytes | None) -> Metadata:
    """What a loaded image's file says; `profile` is the ICC profile of the pixels that are given back."""
    return Metadata(_kept_exif(image.getexif), _resolution(image.info.get("dpi")), profile)


def read_tiff_metadata(content: bytes, profile: bytes | None) -> Metadata:
    """The same of a TIFF file's content, which as a whole is an EXIF block."""
    tags = Image.Exif()

    def load() -> Image.Exif:
        tags.load(_EXIF_START + content)
        return tags

    exif = _kept_exif(load)
    per_unit = {2: 1.0, 3: 2.54}.get(tags.get(_RESOLUTION_UNIT, 2), 0.0)
    dpi = [float(tags.get(tag, 0)) * per_unit for tag in _RESOLUTION]
    return Metadata(exif, _resolution(dpi), profile)


def _kept_exif(load: Callable[[], Image.Exif]) -> bytes | None:
    try:
        kept = Image.Exif()
        for tag, value in _resolved(load()).items():
            if tag in _ABOUT_THE_PHOTO:
                kept[tag] = value
        return kept.tobytes().removeprefix(_EXIF_START) if len(kept) else None
    except Exception:  # a damaged EXIF block raises nearly every type, and says nothing about the pixels
        return None


def is_srgb(profile: bytes) -> bool:
    """Whether an ICC profile calls itself sRGB."""
    try:
        return "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return False


def is_grey_profile(profile: bytes) -> bool:
    """Whether an ICC profile is one for grey, by its header."""
    return profile[16:20] == b"GRAY"


@cache
def srgb_profile() -> bytes:
    """An ICC profile of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _resolved(exif: Image.Exif) -> dict[int, Any]:
    tags: dict[int, Any] = dict(exif)
    for pointer in (_IFD.Exif, _IFD.GPSInfo):
        if pointer in tags:
            tags[pointer] = dict(exif.get_ifd(pointer))
    inner = tags.get(_IFD.Exif, {})
    if _IFD.Interop in inner:
        inner[_IFD.Interop] = dict(exif.get_ifd(_IFD.Interop))
    for tag in _PIXEL_SIZE:
        inner.pop(tag, None)
    return _exact({tag: value for tag, value in tags.items() if not isinstance(value, Mapping) or value})


def _exact(tags: Mapping[int, Any]) -> dict[int, Any]:
    """Tags whose texts keep their bytes: Pillow reads them as Latin-1, but writes a question mark for all but ASCII."""
    exact: dict[int, Any] = {}
    for tag, value in tags.items():
        if isinstance(value, Mapping):
            exact[tag] = _exact(value)
        else:
            exact[tag] = value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value
    return exact


def _resolution(dpi: Any) -> tuple[float, float] | None:
    try:
        width, height = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (width, height) if min(width, height) > 0 and max(width, height) < 1e6 else None
