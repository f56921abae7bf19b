"""The one reader of images: whatever Pillow opens becomes upright 8-bit sRGB, converted by meaning."""

import errno
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from dltool.errors import DataError, DeviceError, SettingsError
from dltool.files import check_regular
from dltool.images.convert import (
    is_deep,
    is_sideways,
    orientation,
    to_pixels_and_alpha,
    upright,
    values_to_pixels_and_alpha,
)
from dltool.images.formats import missing_reader, readable_formats
from dltool.images.metadata import NO_METADATA, Metadata, is_srgb, read_metadata, read_tiff_metadata, srgb_profile
from dltool.images.partial import decoding
from dltool.images.tiff import is_misread, is_tiff, read_tiff, tiff_size

MAX_PIXELS_VARIABLE = "DLTOOL_MAX_PIXELS"

PARTIAL = "damaged: only what could be decoded of it"
_FEWER_BITS = "8 bits of its 16 or more"
_MOST_BYTES = 2 * 10**9
_RESULT_BYTES = 4  # of a pixel: three colours, and what may be transparency
_DECODED_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}

# Pillow warns at the limit and refuses at twice the limit; here only the refusal matters.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# And of damaged tags it tells in its own words, in the midst of ours.
warnings.filterwarnings("ignore", category=UserWarning, module="PIL")


@dataclass(frozen=True)
class DecodedImage:
    """One decoded image.

    Attributes:
        pixels: H × W × 3 uint8, sRGB, upright; transparent pixels are laid on white unless asked otherwise.
        alpha: H × W uint8, 0 is transparent; None for an image without transparency.
        size: width and height of the upright image in its file, which `pixels` may be a reduction of.
        metadata: what the file says beside the pixels, whose `profile` is that of `pixels`.
        notes: what of the file is not in the pixels, in words.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    size: tuple[int, int]
    metadata: Metadata = NO_METADATA
    notes: tuple[str, ...] = ()

    @property
    def image(self) -> Image.Image:
        """The opaque pixels as a Pillow image in mode RGB."""
        return Image.fromarray(self.pixels)


def read_image(
    path: Path | str, longest_side: int | None = None, shortest_side: int | None = None, on_white: bool = True
) -> DecodedImage:
    """Decode the image in `path`; of an animation the first frame.

    Applies EXIF orientation and an embedded ICC profile, scales 16-bit and float images to 8 bits (see
    `find_levels`), converts CMYK, palettes and grey to RGB.

    Args:
        path: any file of the kinds that `readable_formats` lists, whatever its suffix.
        longest_side, shortest_side: the size in pixels that the caller will resize to, by one of the two sides; a
            JPEG is then decoded at a reduced scale of at least twice that size (5 times faster for 12 megapixels,
            0.34/255 mean difference). The caller still resizes.
        on_white: False keeps the colours of partly transparent pixels; only what cannot be seen at all is white.

    Raises:
        DataError: missing, unreadable, truncated or too large; the message starts with the path.
        DeviceError: the memory did not suffice.

    Of a file that `dltool.images.partial.allow_partial` has named, what can be decoded is given, the rest grey or
    black, with a note.
    """
    with _told_by_name(path), decoding(path) as lenient:
        image = _read(path, longest_side, shortest_side, on_white)
        if not lenient:
            return image
        if (image.pixels == image.pixels[:1, :1]).all():
            raise DataError(f"{path}: damaged picture (nothing of it can be decoded)")
        return replace(image, notes=(*image.notes, PARTIAL))


def _read(path: Path | str, longest_side: int | None, shortest_side: int | None, on_white: bool) -> DecodedImage:
    try:
        with open_image(path) as opened:
            if not is_misread(opened):
                return _decode(opened, longest_side, shortest_side, on_white)
    except UnidentifiedImageError:
        decoded = _decode_tiff(path, on_white)
        if decoded is None:
            raise
        return decoded
    decoded = _decode_tiff(path, on_white)
    if decoded is None:
        raise DataError(f"{path}: a TIFF of a layout that cannot be read")
    return decoded


def read_size(path: Path | str) -> tuple[int, int] | None:
    """Width and height of an image as its header has them, nothing decoded; None where that cannot be read.

    Turned as its EXIF orientation says. Only decoding tells whether the image is whole.
    """
    try:
        with open_image(path) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
            return image.size[::-1] if turned else image.size
    except Exception:  # Pillow's decoders raise nearly every type on damaged files
        return None


class Frames(Sequence[np.ndarray]):
    """The frames of an animation, H × W × 3 uint8 with transparency on white; each is decoded when it is asked for.

    Iterating decodes every frame once and keeps none.

    Attributes:
        milliseconds: how long each is shown; 100 where the file does not say.
        seconds: the mean of them.
        loop: how often the animation is repeated as the file says it, 0 for ever; None: it says nothing.
    """

    def __init__(self, path: Path | str) -> None:
        """Look through the file once, for how many frames there are and how long they are shown."""
        self._path = path
        milliseconds = []
        with _told_by_name(path), open_image(path) as movie:
            _check_memory(movie)
            count = getattr(movie, "n_frames", 1)
            # A PNG may begin with an image for programs that know no animations, which is none of the frames.
            self._first = int(count > 1 and bool(movie.info.get("default_image")))
            for index in range(self._first, count):
                movie.seek(index)
                if movie.format == "WEBP":  # which tells the time with the pixels alone
                    movie.load()
                milliseconds.append(float(movie.info.get("duration") or 100) if count > 1 else 100.0)
            self.loop: int | None = movie.info.get("loop")
        self._count = len(milliseconds)
        self.milliseconds = tuple(milliseconds)
        self.seconds = float(np.mean(milliseconds)) / 1000

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> np.ndarray:
        """Decode one frame; a late one costs all before it."""
        return next(self._from(range(self._count)[index], on_white=True)).pixels

    def __iter__(self) -> Iterator[np.ndarray]:
        """Decode one frame after the other.

        Raises:
            DataError: one cannot be read; the message starts with the path.
        """
        return (frame.pixels for frame in self._from(0, on_white=True))

    def with_alpha(self) -> Iterator[DecodedImage]:
        """Decode one frame after the other as `read_image` does with `on_white` False; raises what it does."""
        return self._from(0, on_white=False)

    def _from(self, start: int, on_white: bool) -> Iterator[DecodedImage]:
        if self._count == 1 and not self._first:
            yield read_image(self._path, on_white=on_white)
            return
        with _told_by_name(self._path), open_image(self._path) as movie:
            for index in range(self._first + start, self._first + self._count):
                movie.seek(index)
                yield _decode(movie.copy(), None, None, on_white)


def read_frames(path: Path | str) -> tuple[Frames, float]:
    """The frames of an animation (of a still image its one frame), decoded as they are asked for.

    Returns:
        The frames, and seconds per frame (the mean; 0.1 if none is given).

    Raises:
        DataError: missing, unreadable or damaged; the message starts with the path.
    """
    frames = Frames(path)
    frames[0]  # every error of a single image is told before any work
    return frames, frames.seconds


def open_image(path: Path | str) -> Image.Image:
    """Open a regular file as Pillow's `Image.open` does, if it is of a kind that dltool reads; nothing is decoded.

    Raises:
        DataError: no regular file.
        OSError, ValueError and others: as Pillow.
    """
    _apply_pixel_limit()
    check_regular(Path(path))
    return Image.open(path, formats=readable_formats())


def fit_longest(size: tuple[int, int], longest_side: int) -> tuple[int, int]:
    """Scale width and height so that the longer one is `longest_side`; the other is at least 1."""
    scale = longest_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def fit_shortest(size: tuple[int, int], shortest_side: int) -> tuple[int, int]:
    """Scale width and height so that the shorter one is `shortest_side`; the other is rounded down."""
    short = min(size)
    return int(size[0] * shortest_side / short), int(size[1] * shortest_side / short)


@contextmanager
def _told_by_name(path: Path | str) -> Iterator[None]:
    """Turn whatever goes wrong with a file into a DataError of one line that starts with its name."""
    try:
        yield
    except (DataError, SettingsError) as error:
        if isinstance(error, SettingsError) or str(error).startswith(f"{path}: "):
            raise
        raise DataError(f"{path}: {error}") from error
    except MemoryError as error:
        raise DeviceError(f"{path}: out of memory while it was decoded; run fewer things beside it") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: not a picture that can be read{missing_reader(Path(path).suffix)}") from error
    except Image.DecompressionBombError as error:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise DataError(
            f"{path}: more than {limit:,} pixels, which may be a decompression bomb; "
            f"if you trust it, raise the limit with {MAX_PIXELS_VARIABLE}=N"
        ) from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: {'a link to nothing' if Path(path).is_symlink() else 'no such file'}") from error
    except IsADirectoryError as error:
        closed = not os.access(path, os.R_OK | os.X_OK)
        raise DataError(f"{path}: a folder, {'which cannot be listed' if closed else 'not a picture'}") from error
    except PermissionError as error:
        raise DataError(f"{path}: permission denied") from error
    except Exception as error:  # Pillow's decoders raise nearly every type on damaged files
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            raise DataError(f"{path}: a link that leads back to itself") from error
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            raise DataError(f"{path}: a name longer than this disk allows") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: damaged picture ({reason})") from error


def _apply_pixel_limit() -> None:
    text = os.environ.get(MAX_PIXELS_VARIABLE)
    if text is None:
        return
    if not text.isdigit() or int(text) < 1:
        raise SettingsError(f"{MAX_PIXELS_VARIABLE}={text}: a whole number of pixels is needed")
    Image.MAX_IMAGE_PIXELS = -(-int(text) // 2)


def _check_memory(image: Image.Image) -> None:
    decoded = _DECODED_BYTES.get(image.mode, 4)
    _check_bytes(image.size, image.width * image.height * (decoded + _RESULT_BYTES))


def _check_bytes(size: tuple[int, int], count: int) -> None:
    """Raise DataError if decoding would take more bytes than any image may, unless that many pixels are allowed."""
    raised = MAX_PIXELS_VARIABLE in os.environ and 2 * (Image.MAX_IMAGE_PIXELS or 0) >= size[0] * size[1]
    if count > _MOST_BYTES and not raised:
        raise DataError(
            f"{size[0]} x {size[1]} pixels take {count / 1e9:.1f} GB to decode, more than {_MOST_BYTES / 1e9:.0f} GB; "
            f"if you trust it, allow that many with {MAX_PIXELS_VARIABLE}=N"
        )


def _decode(
    image: Image.Image, longest_side: int | None, shortest_side: int | None, on_white: bool = True
) -> DecodedImage:
    size = image.size
    if longest_side is not None:
        image.draft(None, fit_longest(size, 2 * longest_side))
    elif shortest_side is not None:
        image.draft(None, fit_shortest(size, 2 * shortest_side))
    _check_memory(image)
    notes = _left_out(image)
    image.load()
    lies = orientation(image)
    pixels, alpha = to_pixels_and_alpha(image, on_white)
    if is_sideways(lies):
        size = size[::-1]
    profile = image.info.get("icc_profile")
    if profile and not is_srgb(profile):
        profile = srgb_profile()
    metadata = read_metadata(image, profile or None)
    return DecodedImage(upright(pixels, lies), None if alpha is None else upright(alpha, lies), size, metadata, notes)


def _left_out(image: Image.Image) -> tuple[str, ...]:
    """What 8-bit pixels of the first image of a file that has been opened do not hold."""
    notes = []
    if getattr(image, "is_animated", False) and image.format not in ("MPO", "PSD", "ICO", "ICNS"):
        notes.append("only the first of its pages" if image.format == "TIFF" else "only the first of its frames")
    if is_deep(image) or any(";16" in str(tile.args) for tile in getattr(image, "tile", ())):
        notes.append(_FEWER_BITS)
    return tuple(notes)


def _decode_tiff(path: Path | str, on_white: bool) -> DecodedImage | None:
    """A TIFF of a layout that Pillow does not know; None for other files."""
    with Path(path).open("rb") as file:
        if not is_tiff(file.read(4)):
            return None
    size = tiff_size(path)
    if size is None:
        return None
    width, height, count = size
    if Image.MAX_IMAGE_PIXELS is not None and width * height > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError
    _check_bytes((width, height), 2 * count)
    tiff = read_tiff(path)
    pixels, alpha = values_to_pixels_and_alpha(tiff, on_white)
    pixels = upright(pixels, tiff.orientation)
    alpha = None if alpha is None else upright(alpha, tiff.orientation)
    metadata = read_tiff_metadata(Path(path).read_bytes(), srgb_profile() if tiff.profile else None)
    notes = () if tiff.values.dtype.itemsize == 1 else (_FEWER_BITS,)
    return DecodedImage(pixels, alpha, pixels.shape[1::-1], metadata, notes)
