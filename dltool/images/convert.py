"""From an image as Pillow decoded it to 8-bit sRGB pixels, strip by strip, so that little more memory is needed."""

import io
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageCms

from dltool.images.levels import Levels, declared_no_data, find_levels
from dltool.images.tiff import TiffValues

_STRIP_PIXELS = 2**18
_ORIENTATION = 0x0112
_GDAL_NODATA = 42113
_PHOTOMETRIC = 262
# What brings an image upright, by EXIF's number for how it lies.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


def to_pixels_and_alpha(image: Image.Image, on_white: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Convert a loaded image: H × W × 3 uint8 sRGB as it lies in the file, and H × W uint8 alpha or None.

    Beside the image it takes 3 bytes a pixel, 1 more with transparency, and a strip's worth.
    """
    width, height = image.size
    levels = _levels(image) if is_deep(image) else None
    inverted = levels is not None and _is_min_white(image)
    transparent = levels is None and image.has_transparency_data
    pixels = np.empty((height, width, 3), np.uint8)
    alpha = np.empty((height, width), np.uint8) if transparent else None
    to_srgb = _ToSrgb(image.info.get("icc_profile"))
    for rows, strip in _strips(image):
        if levels is not None:
            eight = levels.to_eight_bits(np.asarray(strip))
            strip = Image.fromarray(255 - eight if inverted else eight)
        if alpha is None:
            pixels[rows] = np.asarray(to_srgb(strip))
            continue
        rgba = strip.convert("RGBA")
        # Grey stays grey, so that an embedded profile for grey still fits it.
        colors = strip.convert("L") if strip.mode == "LA" else rgba.convert("RGB")
        alpha[rows] = np.asarray(rgba.getchannel("A"))
        pixels[rows] = lay_on_white(np.asarray(to_srgb(colors)), alpha[rows], on_white)
    return pixels, alpha


def values_to_pixels_and_alpha(tiff: TiffValues, on_white: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Convert the values of a TIFF file as `to_pixels_and_alpha` does an image; all colours have the same levels."""
    values, alpha = tiff.values, None
    if tiff.has_alpha:
        values, opacity = values[..., :-1], values[..., -1]
        white = np.iinfo(opacity.dtype).max if opacity.dtype.kind in "ui" else 1.0
        alpha = np.rint(np.clip(np.nan_to_num(opacity / white), 0, 1) * 255).astype(np.uint8)
    height, width = values.shape[:2]
    pixels = np.empty((height, width, 3), np.uint8)
    rows_of = [slice(top, top + _STRIP_PIXELS // width + 1) for top in range(0, height, _STRIP_PIXELS // width + 1)]
    levels = find_levels((values[rows] for rows in rows_of), values.size, tiff.no_data)
    to_srgb = _ToSrgb(tiff.profile)
    for rows in rows_of:
        eight = levels.to_eight_bits(values[rows])
        eight = 255 - eight if tiff.min_white else eight
        colors = np.asarray(to_srgb(Image.fromarray(eight[..., 0] if eight.shape[2] == 1 else eight)))
        pixels[rows] = colors if alpha is None else lay_on_white(colors, alpha[rows], on_white)
    return pixels, alpha


def lay_on_white(colors: np.ndarray, alpha: np.ndarray, mixed: bool = True) -> np.ndarray:
    """Lay H × W (× 3) uint8 colours of which H × W uint8 `alpha` can be seen on white.

    Without `mixed`, only what cannot be seen at all becomes white.
    """
    opacity = alpha.reshape(alpha.shape + (1,) * (colors.ndim - alpha.ndim)).astype(np.float32) / 255
    if not mixed:
        opacity = np.ceil(opacity)
    return np.rint(colors * opacity + 255 * (1 - opacity)).astype(np.uint8)


def orientation(image: Image.Image) -> int:
    """EXIF's number for how a loaded image lies; 1 is upright."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1


def upright(values: np.ndarray, lies: int) -> np.ndarray:
    """Turn and mirror an H × W (× C) array that lies as EXIF's number `lies` says."""
    turn = _UPRIGHT.get(lies)
    return values if turn is None else np.ascontiguousarray(turn(values))


def is_sideways(lies: int) -> bool:
    """Whether height and width change places in an image that lies as EXIF's number says."""
    return lies in (5, 6, 7, 8)


def is_deep(image: Image.Image) -> bool:
    """Whether the values are integers of more than 8 bits, or floats, which Pillow's own convert() would clip."""
    return image.mode.startswith("I") or image.mode == "F"


def _levels(image: Image.Image) -> Levels:
    tags = getattr(image, "tag_v2", {})
    declared = declared_no_data(tags[_GDAL_NODATA]) if _GDAL_NODATA in tags else None
    strips = (np.asarray(strip) for _, strip in _strips(image))
    return find_levels(strips, image.width * image.height, declared)


def _is_min_white(image: Image.Image) -> bool:
    """Whether zero is white, as TIFF files may say; Pillow itself heeds it up to 8 bits."""
    return getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    width, height = image.size
    rows = max(1, _STRIP_PIXELS // max(1, width))
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        yield slice(top, bottom), image.crop((0, top, width, bottom))


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An 8-bit image in sRGB, from the colours of its embedded profile; mode RGB."""
    return _ToSrgb(profile)(image)


class _ToSrgb:
    """Converts to RGB through an embedded ICC profile; one that does not fit the image is ignored."""

    def __init__(self, profile: bytes | None) -> None:
        self._profile = profile
        self._transforms: dict[str, ImageCms.ImageCmsTransform | None] = {}

    def __call__(self, image: Image.Image) -> Image.Image:
        if image.mode in ("P", "1"):
            image = image.convert("RGB")
        if image.mode not in self._transforms:
            self._transforms[image.mode] = self._transform(image.mode)
        transform = self._transforms[image.mode]
        return image.convert("RGB") if transform is None else ImageCms.applyTransform(image, transform)

    def _transform(self, mode: str) -> ImageCms.ImageCmsTransform | None:
        target = ImageCms.createProfile("sRGB")
        if self._profile:
            try:
                source = ImageCms.ImageCmsProfile(io.BytesIO(self._profile))
                if "sRGB" in ImageCms.getProfileDescription(source):
                    return None
                return ImageCms.buildTransform(source, target, mode, "RGB")
            except (ImageCms.PyCMSError, OSError, ValueError):
                pass
        return ImageCms.buildTransform(ImageCms.createProfile("LAB"), target, "LAB", "RGB") if mode == "LAB" else None
