"""Where a style goes: a grey image says how strongly, a label image gives each region a style of its own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dltool.images.read import read_image
from dltool.images.tensors import LUMA, resize_pixels

_LABELLED = 0.9


@dataclass(frozen=True)
class Mask:
    """Layers of a mask at the size of its file: one for a strength, one for each style for labels.

    Attributes:
        layers: H × W uint8, 255 where the layer has its full share.
    """

    layers: tuple[np.ndarray, ...]

    @property
    def has_labels(self) -> bool:
        """Whether each region has a style of its own."""
        return len(self.layers) > 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the file's image."""
        return self.layers[0].shape[1], self.layers[0].shape[0]

    def at(self, size: tuple[int, int]) -> Tensor:
        """Return the layers at `size` (width, height), as 1 × R × H × W in [0, 1]; labels add up to 1 everywhere."""
        resized = np.stack([resize_pixels(layer, size) for layer in self.layers])
        mask = torch.from_numpy(resized.astype(np.float32) / 255)[None]
        return mask / mask.sum(1, keepdim=True).clamp_min(1e-6) if self.has_labels else mask


def read_mask(path: Path, styles: int) -> Mask:
    """Read a mask for so many styles.

    With several styles, an image of as many flat colours is a label image: its darkest colour belongs to the first
    style, its brightest to the last. Any other image is grey: black keeps the photo, white has the full style.

    Raises:
        DataError: the file cannot be read.
    """
    pixels = read_image(path).pixels
    if styles > 1:
        labels = _find_labels(pixels, styles)
        if labels is not None:
            return Mask(tuple(np.uint8(255) * (labels == number) for number in range(styles)))
    return Mask((np.rint(pixels.astype(np.float32) @ np.float32(LUMA)).astype(np.uint8),))


def _find_labels(pixels: np.ndarray, count: int) -> np.ndarray | None:
    """The number of each pixel's label, by brightness, or None where the image is not made of `count` colours."""
    coarse = (pixels >> 4).astype(np.int32)  # a lossy file's shades of one colour count as one
    codes = (coarse[..., 0] << 8) | (coarse[..., 1] << 4) | coarse[..., 2]
    values, counts = np.unique(codes, return_counts=True)
    if len(values) < count:
        return None
    most = np.argsort(-counts)[:count]
    if counts[most].sum() < _LABELLED * codes.size or counts[most].min() < 0.001 * codes.size:
        return None
    colors = np.array([pixels[codes == values[index]].mean(0) for index in most], np.float32)
    colors = colors[np.argsort(colors @ np.float32(LUMA))]
    distances = np.stack([np.square(pixels - color).sum(-1) for color in colors])
    return distances.argmin(0)
