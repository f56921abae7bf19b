"""Where training batches come from: tensors on the device, or image files decoded and varied on the way."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.backbones.preprocessing import Preprocessing
from dltool.data.pixels import PixelReader
from dltool.data.splits import Split
from dltool.device import pinned, send_together
from dltool.errors import DltoolError
from dltool.finetune.augment import augment_pixels
from dltool.finetune.settings import Augment
from dltool.images.stream import read_ahead
from dltool.images.tensors import constant
from dltool.training.seeds import numpy_generator

_LARGEST_SHIFT = 2


class FeatureSource:
    """Cached features: V views × N × D on the device; each epoch draws one view of every sample."""

    def __init__(self, views: Tensor, seed: int) -> None:
        self._views = views
        self._seed = seed

    def __len__(self) -> int:
        return self._views.shape[1]

    def batches(self, parts: Sequence[np.ndarray], epoch: int) -> Iterator[Tensor]:
        """Yield the features of each part's samples."""
        view = numpy_generator(self._seed, "view", epoch).integers(len(self._views), size=len(self))
        for chosen in send_together([np.stack((view[part], part), 1) for part in parts], self._views.device):
            yield self._views[chosen[:, 0], chosen[:, 1]]


class ResidentSource:
    """Small images, N × C × H × W uint8 on the device, normalised as they are indexed."""

    def __init__(self, images: Tensor, preprocessing: Preprocessing, augment: Augment, seed: int) -> None:
        self._images = images
        self._preprocessing = preprocessing
        self._augment = augment
        self._seed = seed

    def __len__(self) -> int:
        return len(self._images)

    def batches(self, parts: Sequence[np.ndarray], epoch: int) -> Iterator[Tensor]:
        """Yield each part's images as N × C × H × W floats; `basic` shifts each by up to two pixels."""
        device, shifts = self._images.device, None
        if self._augment is not Augment.NONE:
            random = numpy_generator(self._seed, "shift", epoch)
            drawn = random.integers(0, 2 * _LARGEST_SHIFT + 1, size=(len(self), 2))
            shifts = send_together([drawn[part] for part in parts], device)
        for number, chosen in enumerate(send_together(parts, device)):
            images = self._images[chosen]
            if shifts is not None:
                images = _shifted(images, shifts[number])
            yield normalize_small(images, self._preprocessing)


class ImageSource:
    """Image files: read, varied and stacked by threads, one batch each, ahead of the network."""

    def __init__(
        self, split: Split, reader: PixelReader, augment: Augment, seed: int, device: torch.device, workers: int
    ) -> None:
        self._split = split
        self._reader = reader
        self._augment = augment
        self._seed = seed
        self._device = device
        self._workers = workers

    def __len__(self) -> int:
        return len(self._split)

    def batches(self, parts: Sequence[np.ndarray], epoch: int) -> Iterator[Tensor]:
        """Yield each part's images as normalised N × 3 × crop × crop floats on the device, channels last.

        Raises:
            DataError: an image cannot be read any more.
        """
        for _, pixels in read_ahead(parts, lambda part: self._stack(part, epoch), self._workers):
            if isinstance(pixels, DltoolError):
                raise pixels
            yield to_device(pixels, self._reader.preprocessing, self._device)

    def _stack(self, part: np.ndarray, epoch: int) -> Tensor:
        preprocessing = self._reader.preprocessing
        pixels = np.stack(
            [
                augment_pixels(
                    self._reader.read(self._split, int(index)),
                    self._augment,
                    preprocessing,
                    numpy_generator(self._seed, "augment", epoch, int(index)),
                )
                for index in part
            ]
        )
        return pinned(pixels, self._device)


def to_device(pixels: Tensor, preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """N × H × W × 3 uint8 pixels as normalised N × 3 × H × W floats; what crosses to the device is uint8."""
    images = pixels.to(device, non_blocking=True).permute(0, 3, 1, 2)
    return preprocessing.normalize(images.float() / 255).contiguous(memory_format=torch.channels_last)


def normalize_small(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(x - mean) / std of N × C × H × W uint8 images, grey ones with the first channel's numbers."""
    channels = images.shape[1]
    mean, std = (
        constant(values[:channels], torch.float32, images.device).view(-1, 1, 1)
        for values in (preprocessing.mean, preprocessing.std)
    )
    return (images.float() / 255 - mean) / std


def _shifted(images: Tensor, offsets: Tensor) -> Tensor:
    """Cut every image at its own offset (0 to 4 down and right) out of a frame of two black pixels."""
    height, width = images.shape[2:]
    framed = F.pad(images, (_LARGEST_SHIFT,) * 4)
    rows = (offsets[:, :1] + torch.arange(height, device=images.device))[:, None, :, None]
    columns = (offsets[:, 1:] + torch.arange(width, device=images.device))[:, None, None, :]
    sample = torch.arange(len(images), device=images.device)[:, None, None, None]
    channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return framed[sample, channel, rows, columns]
