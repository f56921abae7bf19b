"""IDX files, the format of MNIST and its kin: big-endian header, then raw numbers; plain or gzipped."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from dltool.errors import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """Return the array in an IDX file (http://yann.lecun.com/exdb/mnist/); gzip is told by content, not by name.

    Raises:
        DataError: missing, damaged, or not IDX; the message names the file.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise DataError(f"{path}: not an IDX file")
    dimensions, kind = content[3], np.dtype(_TYPES[content[2]])
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path}: cut short")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) - start != math.prod(shape) * kind.itemsize:
        raise DataError(f"{path}: {len(content) - start} bytes of numbers, {shape} needs another count")
    return np.frombuffer(content, kind, offset=start).reshape(shape)


def find_idx(root: Path, name: str) -> Path | None:
    """Find `train-images-idx3-ubyte` and the like below `root`, with or without .gz, also with a dot for a dash."""
    for folder in (root, root / "raw"):
        for spelled in (name, name.replace("-idx", ".idx")):
            for suffix in ("", ".gz"):
                if (folder / (spelled + suffix)).is_file():
                    return folder / (spelled + suffix)
    return None
