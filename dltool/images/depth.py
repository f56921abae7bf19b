"""16-bit files that use fewer bits: which value is white, the same for all files of a set."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dltool.images.convert import lay_on_white, orientation, to_srgb, upright
from dltool.images.deep import read_channels
from dltool.images.levels import Levels
from dltool.images.png16 import significant_bits
from dltool.images.read import open_image, read_image

# Kinds of files that may have 16 bits.
_DEEP_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".pgm", ".pnm", ".ppm", ".jp2", ".j2k"})
_BITS = (8, 10, 12, 14)
_MOST_READ = 500
_MOST_VALUES = 2 * 10**8


@dataclass(frozen=True)
class Depth:
    """The bits that 16-bit files of a set use, 0 if all of them; how many such files there are."""

    bits: int = 0
    files: int = 0

    @property
    def white(self) -> int:
        """The value that is white; 0: each file's own."""
        return 2**self.bits - 1 if self.bits else 0


def find_depth(paths: Sequence[Path]) -> Depth:
    """Look for 16-bit files whose values reach no more than 14 bits, in a set or 500 of it.

    The bits are those that a PNG's sBIT chunk says, if the values keep to it, else the fewest of 8, 10, 12 and 14
    that hold the largest value of all. Files that cannot be read are passed over.
    """
    deep = [path for path in paths if path.suffix.lower() in _DEEP_SUFFIXES]
    bits, files, values = 0, 0, 0
    for path in deep[:: -(-len(deep) // _MOST_READ) or 1]:
        channels, _, _ = _channels(path)
        if channels is None:
            continue
        files, values = files + 1, values + channels.size
        colors = channels[..., :-1] if channels.shape[2] in (2, 4) else channels
        needed = int(colors.max()).bit_length()
        if needed > _BITS[-1]:
            return Depth(files=files)
        bits = max(bits, needed, significant_bits(path))
        if values > _MOST_VALUES:
            break
    return Depth(next((each for each in _BITS if each >= bits), 0), files) if files else Depth()


def read_pixels(path: Path, shortest_side: int | None, white: int) -> np.ndarray:
    """H × W × 3 uint8 as `read_image` gives them, but with `white` as the white of a 16-bit file; 0: as it is.

    Raises:
        DataError: as `read_image`.
    """
    if white and path.suffix.lower() in _DEEP_SUFFIXES:
        channels, profile, lies = _channels(path)
        if channels is not None:
            eight = upright(Levels(0.0, float(white)).to_eight_bits(channels), lies)
            colors, alpha = (eight[..., :-1], eight[..., -1]) if eight.shape[2] in (2, 4) else (eight, None)
            if alpha is not None:  # which is of 16 bits, whatever the colours are
                alpha = upright((channels[..., -1] >> 8).astype(np.uint8), lies)
            image = Image.fromarray(colors[..., 0] if colors.shape[2] == 1 else np.ascontiguousarray(colors))
            pixels = np.asarray(to_srgb(image, profile))
            return pixels if alpha is None else lay_on_white(pixels, alpha)
    return read_image(path, shortest_side=shortest_side).pixels


def _channels(path: Path) -> tuple[np.ndarray | None, bytes | None, int]:
    """What `read_channels` gives; nothing where the file cannot be read, of which `read_image` tells."""
    try:
        with open_image(path) as image:
            if image.format == "PNG" and image.mode == "I;16":  # ten times as fast as what reads colours of 16 bits
                return np.asarray(image)[..., None], image.info.get("icc_profile"), orientation(image)
        return read_channels(path)
    except Exception:  # Pillow's decoders raise nearly every type on damaged files
        return None, None, 1
