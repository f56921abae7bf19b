"""The one reader of images: whatever Pillow opens becomes upright 8-bit sRGB, converted by meaning."""

import io
import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from dltool.errors import DataError, SettingsError

MAX_PIXELS_VARIABLE = "DLTOOL_MAX_PIXELS"

# Pillow warns at the limit and refuses at twice the limit; here only the refusal matters.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class DecodedImage:
    """One decoded image.

    Attributes:
        pixels: H × W × 3 uint8, sRGB, upright; transparent pixels are laid on white unless asked otherwise.
        alpha: H × W uint8, 0 is transparent; None for an image without transparency.
        size: width and height of the upright image in its file, which `pixels` may be a reduction of.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    size: tuple[int, int]

    @property
    def image(self) -> Image.Image:
        """The opaque pixels as a Pillow image in mode RGB."""
        return Image.fromarray(self.pixels)


def read_image(
    path: Path | str, longest_side: int | None = None, shortest_side: int | None = None, on_white: bool = True
) -> DecodedImage:
    """Decode the image in `path`; of an animation the first frame.

    Applies EXIF orientation and an embedded ICC profile, scales 16-bit and float images to 8 bits, converts CMYK,
    palettes and grey to RGB.

    Args:
        path: any file that Pillow reads, whatever its suffix.
        longest_side, shortest_side: the size in pixels that the caller will resize to, by one of the two sides; a
            JPEG is then decoded at a reduced scale of at least twice that size (5 times faster for 12 megapixels,
            0.34/255 mean difference). The caller still resizes.
        on_white: False keeps the colours of partly transparent pixels; only what cannot be seen at all is white.

    Raises:
        DataError: missing, unreadable, truncated or too large; the message starts with the path.
    """
    _apply_pixel_limit()
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode) and not Path(path).is_dir():
            raise DataError(f"{path}: not a regular file")
        with Image.open(path) as opened:
            return _decode(opened, longest_side, shortest_side, on_white)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not a picture that can be read") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DataError(
            f"{path}: more than {limit:,} pixels, which may be a decompression bomb; "
            f"if you trust it, raise the limit with {MAX_PIXELS_VARIABLE}=N"
        ) from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: a folder, not a picture") from error
    except PermissionError as error:
        raise DataError(f"{path}: permission denied") from error
    except Exception as error:  # Pillow's decoders raise nearly every type on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: damaged picture ({reason})") from error


def read_size(path: Path | str) -> tuple[int, int] | None:
    """Width and height of an image as its header has them, nothing decoded; None where that cannot be read.

    Only decoding tells whether the image is whole, and orientation is not applied.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            return None
        with Image.open(path) as image:
            return image.size
    except Exception:  # Pillow's decoders raise nearly every type on damaged files
        return None


def read_frames(path: Path | str) -> tuple[list[np.ndarray], float]:
    """Decode every frame of an animation (of a still image its one frame).

    Returns:
        The frames, H × W × 3 uint8 with transparency on white, and seconds per frame (the mean; 0.1 if none is given).

    Raises:
        DataError: missing, unreadable or damaged; the message starts with the path.
    """
    first = read_image(path)  # every error of a single image is told there
    try:
        with Image.open(path) as movie:
            count = getattr(movie, "n_frames", 1)
            if count == 1:
                return [first.pixels], 0.1
            frames, milliseconds = [], []
            for index in range(count):
                movie.seek(index)
                frames.append(_decode(movie.copy(), None, None).pixels)
                milliseconds.append(movie.info.get("duration") or 100)
    except Exception as error:  # Pillow's decoders raise nearly every type on damaged files
        raise DataError(f"{path}: damaged picture ({' '.join(str(error).split())})") from error
    return frames, float(np.mean(milliseconds)) / 1000


def fit_longest(size: tuple[int, int], longest_side: int) -> tuple[int, int]:
    """Scale width and height so that the longer one is `longest_side`; the other is at least 1."""
    scale = longest_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def fit_shortest(size: tuple[int, int], shortest_side: int) -> tuple[int, int]:
    """Scale width and height so that the shorter one is `shortest_side`; the other is rounded down."""
    short = min(size)
    return int(size[0] * shortest_side / short), int(size[1] * shortest_side / short)


def _apply_pixel_limit() -> None:
    text = os.environ.get(MAX_PIXELS_VARIABLE)
    if text is None:
        return
    if not text.isdigit() or int(text) < 1:
        raise SettingsError(f"{MAX_PIXELS_VARIABLE}={text}: a whole number of pixels is needed")
    Image.MAX_IMAGE_PIXELS = -(-int(text) // 2)


def _decode(
    image: Image.Image, longest_side: int | None, shortest_side: int | None, on_white: bool = True
) -> DecodedImage:
    size = image.size
    if longest_side is not None:
        image.draft(None, fit_longest(size, 2 * longest_side))
    elif shortest_side is not None:
        image.draft(None, fit_shortest(size, 2 * shortest_side))
    image.load()
    profile = image.info.get("icc_profile")
    upright = _apply_orientation(image)
    if upright.size != image.size:
        size = size[::-1]
    colors, alpha = _split_alpha(_to_eight_bits(upright))
    pixels = np.asarray(_to_srgb(colors, profile))
    if alpha is None:
        return DecodedImage(pixels, None, size)
    opacity = alpha[..., None].astype(np.float32) / 255
    if not on_white:
        opacity = np.ceil(opacity)
    laid = np.rint(pixels * opacity + 255 * (1 - opacity)).astype(np.uint8)
    return DecodedImage(laid, alpha, size)


def _apply_orientation(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return image


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Scale the modes that Pillow's own convert() would clip: 16-bit, 32-bit integer and float grey."""
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    values = np.asarray(image).astype(np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        finite = np.zeros(1)
    low = min(0.0, float(finite.min()))
    if image.mode == "F":
        # A few highlights above white (overshoot of a filter, a light source) do not make it another scale.
        high = float(np.percentile(finite, 99.5)) - low
        white = next((white for white in (1.0, 255.0, 65535.0) if high <= 1.5 * white), high)
    else:
        white = max(65535.0, float(finite.max()) - low)
    scaled = np.nan_to_num((values - low) * (255.0 / white), nan=0.0, posinf=255.0, neginf=0.0)
    return Image.fromarray(np.rint(scaled.clip(0, 255)).astype(np.uint8))


def _split_alpha(image: Image.Image) -> tuple[Image.Image, np.ndarray | None]:
    """Return the image without transparency, and its alpha channel or None where it has none."""
    if not image.has_transparency_data:
        return image, None
    rgba = image.convert("RGBA")
    # Grey stays grey, so that an embedded profile for grey still fits it.
    colors = image.convert("L") if image.mode == "LA" else rgba.convert("RGB")
    return colors, np.asarray(rgba.getchannel("A"))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to RGB through the embedded ICC profile; one that does not fit the image is ignored."""
    if image.mode in ("P", "1"):
        image = image.convert("RGB")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                target = ImageCms.createProfile("sRGB")
                return ImageCms.profileToProfile(image, source, target, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
    return image.convert("RGB")
