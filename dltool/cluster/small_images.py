"""Images of one size in memory: decoded from a source, fitted to a model's channels, on a device in batches."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from dltool.backbones.preprocessing import Preprocessing
from dltool.cluster.source import ClusterSource
from dltool.data.splits import ArraySplit
from dltool.errors import DataError
from dltool.images.stream import read_ahead


def image_pixels(source: ClusterSource, preprocessing: Preprocessing, workers: int) -> np.ndarray:
    """N × H × W (grey) or N × H × W × 3 uint8 images of one size.

    Raises:
        DataError: an image cannot be read.
    """
    split = source.split
    assert split is not None
    if isinstance(split, ArraySplit) and split.images.shape[1] == preprocessing.crop:
        return split.images
    reader = source.reader_for(preprocessing)

    def read(index: int) -> np.ndarray:
        return preprocessing.crop_pixels(reader.read(split, index))

    images = []
    for _, pixels in read_ahead(range(len(split)), read, workers):
        if isinstance(pixels, DataError):
            raise pixels
        images.append(pixels)
    return np.stack(images)


def fit_channels(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """N × H × W or N × H × W × 3 uint8 images as `shape` (H, W, or H, W, 3) has them.

    Raises:
        DataError: they are of another size.
    """
    if images.ndim == 4 and len(shape) == 2:
        images = np.rint(images.mean(3)).astype(np.uint8)
    elif images.ndim == 3 and len(shape) == 3:
        images = np.repeat(images[..., None], 3, axis=3)
    if images.shape[1:] != tuple(shape):
        found, wanted = (" × ".join(map(str, sides[:2])) for sides in (images.shape[1:], shape))
        raise DataError(f"pictures of {found} pixels, but the model groups those of {wanted}")
    return images


class DeviceImages:
    """N images of one size on the device as uint8, given out in batches in [0, 1]."""

    def __init__(self, images: np.ndarray, device: torch.device) -> None:
        """`images`: N × H × W or N × H × W × 3 uint8."""
        tensor = torch.from_numpy(np.ascontiguousarray(images))
        tensor = tensor[:, None] if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2)
        self.pixels = tensor.contiguous().to(device)

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def channels(self) -> int:
        """1 or 3."""
        return self.pixels.shape[1]

    @property
    def means(self) -> list[float]:
        """Mean of each channel, in [0, 1]."""
        return [
            int(self.pixels[:, c].sum(dtype=torch.int64)) / self.pixels[:, c].numel() / 255
            for c in range(self.channels)
        ]

    def __getitem__(self, indices: Tensor) -> Tensor:
        """N × C × H × W float32 of the samples at `indices`."""
        return self.pixels[indices.to(self.pixels.device)].float().div_(255)

    def in_order(self) -> Iterator[Tensor]:
        """All of them, in chunks."""
        for chunk in self.pixels.split(1024):
            yield chunk.float().div_(255)


@torch.no_grad()
def encode_all(encoder: Callable[[Tensor], Tensor], images: DeviceImages) -> Tensor:
    """N × D float32 codes on the CPU; the encoder is in evaluation mode."""
    return torch.cat([encoder(chunk).float().cpu() for chunk in images.in_order()])
