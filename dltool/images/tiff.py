"""TIFF files of more bits than Pillow gives back: 16 bits for each colour, float16, float64, float colours.

Pillow's libtiff undoes every compression, but for few layouts. Here it is told that each byte is a pixel of grey; the
bytes are then put together as the file means them (TIFF 6.0, 1992; floating-point predictor: Adobe's technical note 3).
"""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin, TiffTags

from dltool.images.levels import declared_no_data
from dltool.images.metadata import Metadata

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIPS, _ORIENTATION, _CHANNELS, _ROWS_PER_STRIP, _STRIP_LENGTHS, _PLANAR = 273, 274, 277, 278, 279, 284
_PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_LENGTHS = 317, 322, 323, 324, 325
_EXTRA_SAMPLES, _SAMPLE_FORMAT, _PROFILE, _NO_DATA = 338, 339, 34675, 42113
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 282, 283, 296
_STRIP_ROWS = 64
_LOSSLESS = {1, 5, 8, 32773, 32946, 34925, 50000}
_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_KINDS = {1: "u", 2: "i", 3: "f"}


@dataclass(frozen=True)
class TiffValues:
    """What a TIFF file's first page holds, as it lies in the file.

    Attributes:
        values: H × W × C, unsigned, signed or float.
        min_white: zero is white.
        has_alpha: the last channel is transparency.
        orientation: EXIF's number for how it lies.
        profile: the embedded ICC profile, or None.
        no_data: the value that stands for none, where the file says so.
    """

    values: np.ndarray
    min_white: bool
    has_alpha: bool
    orientation: int
    profile: bytes | None
    no_data: float | None


@dataclass(frozen=True)
class _Layout:
    """How the values of a page are stored; `planes` apart from each other, each in strips or tiles."""

    width: int
    height: int
    channels: int
    dtype: np.dtype
    planes: int
    predictor: int
    compression: int
    block: tuple[int, int] | None  # width and height of tiles

    @property
    def stored_width(self) -> int:
        """Pixels of a row as stored: whole tiles."""
        return self.width if self.block is None else -(-self.width // self.block[0]) * self.block[0]


def is_tiff(start: bytes) -> bool:
    """Whether a file that starts so is a TIFF."""
    return start[:4] in _SIGNATURES


def is_misread(image: Image.Image) -> bool:
    """Whether Pillow takes an opened TIFF's values for others: more than 8 bits in planes, or 32 without a sign."""
    tags = getattr(image, "tag_v2", {})
    depth = max(tags.get(_BITS, (1,)))
    in_planes = tags.get(_PLANAR, 1) == 2 and tags.get(_CHANNELS, 1) > 1
    return (depth > 8 and in_planes) or (depth == 32 and tags.get(_SAMPLE_FORMAT, (1,))[0] == 1)


def tiff_size(path: Path | str) -> tuple[int, int, int] | None:
    """Width, height, and bytes of the values, from the header of a file; None for layouts that are not read here."""
    with Path(path).open("rb") as file:
        layout = _layout(_directory(file))
    if layout is None:
        return None
    return layout.width, layout.height, layout.width * layout.height * layout.channels * layout.dtype.itemsize


def read_tiff(path: Path | str) -> TiffValues | None:
    """Read the first page's values with all their bits; None for layouts other than grey or RGB without loss.

    Raises:
        OSError, ValueError, KeyError, struct.error, SyntaxError: the file is damaged.
    """
    content = Path(path).read_bytes()
    tags = _directory(io.BytesIO(content))
    layout = _layout(tags)
    if layout is None:
        return None
    planes = [_read_plane(content, tags, layout, number) for number in range(layout.planes)]
    values = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
    extra = tags.get(_EXTRA_SAMPLES, ())
    colors = 3 if tags[_PHOTOMETRIC] == 2 else 1
    has_alpha = layout.channels > colors and bool(extra) and extra[0] in (1, 2)
    return TiffValues(
        values[..., : colors + has_alpha],
        tags[_PHOTOMETRIC] == 0,
        has_alpha,
        int(tags.get(_ORIENTATION, 1)),
        tags.get(_PROFILE),
        declared_no_data(tags[_NO_DATA]) if _NO_DATA in tags else None,
    )


def encode_tiff(channels: np.ndarray, has_alpha: bool, metadata: Metadata) -> bytes:
    """Return the content of a file for H × W × C uint8 or uint16, grey or RGB, an alpha channel the last.

    Deflated, without loss, with what the metadata says.
    """
    height, width, count = channels.shape
    differences = channels.copy()
    differences[:, 1:] -= channels[:, :-1]
    stored = channels.dtype.newbyteorder("<")
    tops = range(0, height, _STRIP_ROWS)
    strips = [zlib.compress(differences[top : top + _STRIP_ROWS].astype(stored)) for top in tops]
    tags = TiffImagePlugin.ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    for tag, value in metadata.exif_tags().items():
        tags[tag] = value
    lengths = [len(strip) for strip in strips]
    values = {
        _WIDTH: width,
        _HEIGHT: height,
        _BITS: (8 * stored.itemsize,) * count,
        _COMPRESSION: 8,
        _PREDICTOR: 2,
        _CHANNELS: count,
    }
    values |= {_PHOTOMETRIC: 2 if count > 2 else 1, _ROWS_PER_STRIP: _STRIP_ROWS, _STRIP_LENGTHS: tuple(lengths)}
    values[_STRIPS] = tuple(sum(lengths[:number]) for number in range(len(lengths)))
    if has_alpha:
        values[_EXTRA_SAMPLES] = 2
    if metadata.dpi is not None:
        values |= {_X_RESOLUTION: metadata.dpi[0], _Y_RESOLUTION: metadata.dpi[1], _RESOLUTION_UNIT: 2}
    for tag, value in values.items():
        tags[tag] = value
    for tag in (_STRIPS, _STRIP_LENGTHS):
        tags.tagtype[tag] = TiffTags.LONG
    if metadata.profile is not None:
        tags.tagtype[_PROFILE] = TiffTags.UNDEFINED
        tags[_PROFILE] = metadata.profile
    file = io.BytesIO()
    tags.save(file)  # which moves the places of strips, counted from here, behind itself
    return file.getvalue() + b"".join(strips)


def _directory(file: io.BufferedIOBase) -> TiffImagePlugin.ImageFileDirectory_v2:
    head = file.read(8)
    if head[2:3] == b"+" or head[3:4] == b"+":
        head += file.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(head)
    file.seek(tags.next)
    tags.load(file)
    return tags


def _layout(tags: TiffImagePlugin.ImageFileDirectory_v2) -> _Layout | None:
    channels = int(tags.get(_CHANNELS, 1))
    bits, formats = set(tags.get(_BITS, (1,))), set(tags.get(_SAMPLE_FORMAT, (1,)))
    compression, photometric = int(tags.get(_COMPRESSION, 1)), tags.get(_PHOTOMETRIC)
    known = compression in _LOSSLESS and photometric in (0, 1, 2) and len(bits) == len(formats) == 1
    if not known or not (3 if photometric == 2 else 1) <= channels <= 8:
        return None
    depth, kind = bits.pop(), _KINDS.get(formats.pop())
    if kind is None or depth not in ((16, 32, 64) if kind == "f" else (8, 16, 32, 64)):
        return None
    predictor = int(tags.get(_PREDICTOR, 1)) if compression not in (1, 32773) else 1
    if predictor not in (1, 2, 3) or (predictor == 3 and kind != "f"):
        return None
    dtype = np.dtype(f"{'<' if tags.prefix == b'II' else '>'}{kind}{depth // 8}")
    planes = channels if tags.get(_PLANAR, 1) == 2 else 1
    block = (tags[_TILE_WIDTH], tags[_TILE_HEIGHT]) if _TILES in tags else None
    return _Layout(tags[_WIDTH], tags[_HEIGHT], channels, dtype, planes, predictor, compression, block)


def _read_plane(
    content: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2, layout: _Layout, number: int
) -> np.ndarray:
    """One plane as H × W × its channels, in the machine's byte order."""
    channels = layout.channels // layout.planes
    pixel = channels * layout.dtype.itemsize
    data = _read_bytes(content, _as_bytes(tags, layout, number, pixel))
    chunk = layout.width if layout.block is None else layout.block[0]
    rows = data.reshape(layout.height, -1, chunk * pixel)
    if layout.predictor == 3:
        values = _undo_float_predictor(rows, channels, layout.dtype)
    else:
        values = rows.view(layout.dtype).reshape(layout.height, -1, chunk, channels)
        if layout.predictor == 2:
            whole = values.view(f"{layout.dtype.byteorder}u{layout.dtype.itemsize}")
            values = np.cumsum(whole, axis=2, dtype=whole.dtype.newbyteorder("=")).view(layout.dtype.newbyteorder("="))
    native = values.astype(layout.dtype.newbyteorder("="), copy=False)
    return native.reshape(layout.height, layout.stored_width, channels)[:, : layout.width]


def _undo_float_predictor(rows: np.ndarray, channels: int, dtype: np.dtype) -> np.ndarray:
    """Rows (H × pieces × bytes) of differences of bytes, the highest byte of all values first."""
    height, pieces, count = rows.shape
    summed = np.cumsum(rows.reshape(height, pieces, -1, channels), axis=2, dtype=np.uint8)
    planes = summed.reshape(height, pieces, dtype.itemsize, count // dtype.itemsize)
    values = np.ascontiguousarray(planes.swapaxes(2, 3)).view(dtype.newbyteorder(">"))
    return values.reshape(height, pieces, -1, channels)


def _as_bytes(
    tags: TiffImagePlugin.ImageFileDirectory_v2, layout: _Layout, plane: int, pixel: int
) -> dict[int, Sequence[int]]:
    """The tags of an image of grey whose pixels are the bytes of one plane."""
    grey = {_WIDTH: (layout.stored_width * pixel,), _HEIGHT: (layout.height,), _BITS: (8,), _CHANNELS: (1,)}
    grey |= {_COMPRESSION: (layout.compression,), _PHOTOMETRIC: (1,), _PLANAR: (1,)}
    if layout.block is None:
        grey[_ROWS_PER_STRIP] = (min(layout.height, tags.get(_ROWS_PER_STRIP, layout.height)),)
        places, lengths = _STRIPS, _STRIP_LENGTHS
    else:
        grey |= {_TILE_WIDTH: (layout.block[0] * pixel,), _TILE_HEIGHT: (layout.block[1],)}
        places, lengths = _TILES, _TILE_LENGTHS
    count = len(tags[places]) // layout.planes
    own = slice(plane * count, (plane + 1) * count)
    return grey | {places: tags[places][own], lengths: tags[lengths][own]}


def _read_bytes(content: bytes, grey: Mapping[int, Sequence[int]]) -> np.ndarray:
    """H × W uint8: the image that the tags `grey` say lies in the content of a file."""
    place = len(content) + len(content) % 2
    file = io.BytesIO(content)
    file.write(struct.pack("<2sHL", b"II", 42, place))
    file.seek(place)
    file.write(_pack_directory(grey, place))
    file.seek(0)
    # Not Image.open, whose limit would take bytes for pixels.
    with TiffImagePlugin.TiffImageFile(file, "") as image:
        out = np.empty((image.height, image.width), np.uint8)
        rows = max(1, 2**20 // image.width)
        image.load()
        for top in range(0, image.height, rows):
            bottom = min(image.height, top + rows)
            out[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return out


def _pack_directory(tags: Mapping[int, Sequence[int]], place: int) -> bytes:
    """A directory of whole numbers for `place` in a file; those of more than one value follow it."""
    entries, lists = b"", b""
    after = place + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}L", *values)
        entries += struct.pack("<HHL", tag, 4, len(values))
        entries += packed if len(values) == 1 else struct.pack("<L", after + len(lists))
        lists += packed if len(values) > 1 else b""
    return struct.pack("<H", len(tags)) + entries + struct.pack("<L", 0) + lists
