"""PNG files of 16 bits per channel, which Pillow keeps for grey only (PNG specification, third edition)."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dltool.images.metadata import NO_METADATA, Metadata

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The chunk stands before the palette and the pixels; before it may be a profile.
_SBIT_WITHIN = 2**16
_METRES_PER_INCH = 0.0254
_CHANNELS = {0: 1, 4: 2, 2: 3, 6: 4}  # by colour type: grey, grey and alpha, colours, colours and alpha
_COLOR_TYPES = {channels: kind for kind, channels in _CHANNELS.items()}


def encode_png16(channels: np.ndarray, metadata: Metadata = NO_METADATA) -> bytes:
    """Return the file's content for H × W × C uint16; C is 1 to 4, an alpha channel the last of 2 or 4."""
    height, width, count = channels.shape
    # Each value minus its left neighbour's, byte by byte: the filter "Sub", which halves the size of photos.
    rows = channels.astype(">u2").reshape(height, -1).view(np.uint8)
    filtered = rows.copy()
    filtered[:, 2 * count :] -= rows[:, : -2 * count]
    content = np.concatenate([np.ones((height, 1), np.uint8), filtered], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOR_TYPES[count], 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        *_describe(metadata),
        (b"IDAT", zlib.compress(content, 6)),
        (b"IEND", b""),
    )
    packed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return _SIGNATURE + b"".join(packed)


def _describe(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    if metadata.profile is not None:
        yield b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.profile)
    if metadata.dpi is not None:
        yield b"pHYs", struct.pack(">IIB", *(round(dpi / _METRES_PER_INCH) for dpi in metadata.dpi), 1)
    if metadata.exif is not None:
        yield b"eXIf", metadata.exif


def decode_png16(content: bytes) -> np.ndarray | None:
    """Return the channels of a 16-bit PNG as H × W × C uint16; None for other files, interlaced ones and colour keys.

    Raises:
        ValueError, zlib.error, struct.error: the file is damaged.
    """
    if not content.startswith(_SIGNATURE):
        return None
    chunks = list(_chunks(content))
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    if depth != 16 or interlaced or any(name == b"tRNS" for name, _ in chunks):
        return None
    data = zlib.decompress(b"".join(data for name, data in chunks if name == b"IDAT"))
    count = _CHANNELS[kind]
    rows = np.frombuffer(data, np.uint8, height * (1 + 2 * count * width)).reshape(height, -1)
    unfiltered = _unfilter(rows[:, 0], rows[:, 1:].reshape(height, width, 2 * count))
    return unfiltered.reshape(height, -1).view(">u2").reshape(height, width, count).astype(np.uint16)


def significant_bits(path: Path) -> int:
    """The bits of each channel that a PNG's sBIT chunk says are in use, the most of all channels; 0 without one."""
    with path.open("rb") as file:
        start = file.read(_SBIT_WITHIN)
    if not start.startswith(_SIGNATURE):
        return 0
    return next((max(data, default=0) for name, data in _chunks(start) if name == b"sBIT"), 0)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(_SIGNATURE)
    while place + 8 <= len(content):
        length, name = struct.unpack(">I4s", content[place : place + 8])
        yield name, content[place + 8 : place + 8 + length]
        place += length + 12


def _unfilter(filters: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Undo each row's filter on H × W × bytes: every pixel needs those to its left, above it, and between.

    Pixels on an anti-diagonal do not need each other, and are worked on at once.
    """
    height, width, count = values.shape
    padded = np.zeros((height + 1, width + 1, count), np.uint8)
    for diagonal in range(height + width - 1):
        rows = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        columns = diagonal - rows
        left = padded[rows + 1, columns].astype(np.int16)
        above = padded[rows, columns + 1].astype(np.int16)
        between = padded[rows, columns].astype(np.int16)
        kinds = filters[rows, None]
        guess = np.choose(kinds, (0, left, above, (left + above) // 2, _paeth(left, above, between)))
        padded[rows + 1, columns + 1] = values[rows, columns] + guess.astype(np.uint8)
    return np.ascontiguousarray(padded[1:, 1:])


def _paeth(left: np.ndarray, above: np.ndarray, between: np.ndarray) -> np.ndarray:
    """Of three neighbours the one nearest to left + above - between; ties go in this order."""
    to_left, to_above = np.abs(above - between), np.abs(left - between)
    to_between = np.abs(left + above - 2 * between)
    nearest = np.where(to_above <= to_between, above, between)
    return np.where((to_left <= to_above) & (to_left <= to_between), left, nearest)
