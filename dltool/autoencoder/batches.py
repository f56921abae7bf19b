"""Batches of clean images as uint8, each a function of (seed, epoch, sample)."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.autoencoder.data import Images, to_channels
from dltool.autoencoder.settings import Augment
from dltool.autoencoder.unet import reflected
from dltool.device import send_together
from dltool.images.stream import read_ahead
from dltool.images.tensors import fit_pixels
from dltool.training.seeds import numpy_generator

# A scaled crop holds at least this share of the image.
_LEAST_AREA = 0.5


class Source(Protocol):
    """Training samples by number."""

    def __len__(self) -> int: ...

    def batches(self, parts: Sequence[np.ndarray], epoch: int) -> Iterator[Tensor]:
        """For each array of sample numbers a batch, N × C × H × W uint8."""
        ...


class WholeSource:
    """Equally large whole images as one uint8 tensor, on the device where it fits; no loader in the way."""

    def __init__(self, images: Tensor, augment: Augment, seed: int, passes: int = 1) -> None:
        """`images`: N × C × H × W uint8, each of which an epoch has `passes` times."""
        self.images = images
        self._augment = augment
        self._seed = seed
        self._passes = passes

    def __len__(self) -> int:
        return len(self.images) * self._passes

    def batches(self, parts: Sequence[np.ndarray], epoch: int) -> Iterator[Tensor]:
        """See `Source`."""
        symmetries = _symmetries(len(self), self._augment, self._seed, epoch)
        cropped = self._augment is Augment.CROP
        drawn = numpy_generator(self._seed, "scaled crop", epoch).random((len(self), 4)) if cropped else None
        images = [part % len(self.images) for part in parts]
        for part, numbers in zip(parts, send_together(images, self.images.device), strict=True):
            batch = self.images.index_select(0, numbers)
            if drawn is not None:
                yield scaled_crops(batch, drawn[part])
            elif symmetries is None:
                yield batch
            else:
                yield torch.stack([_turn(image, kind) for image, kind in zip(batch, symmetries[part], strict=True)])


class CropSource:
    """Random square crops of images of any size; smaller ones are continued by reflection."""

    def __init__(
        self, images: Images, channels: int, side: int, per_image: int, augment: Augment, seed: int, workers: int
    ) -> None:
        """An epoch has `per_image` crops of `side` pixels of every image; `workers` threads decode files."""
        self._images = images
        self._channels = channels
        self._side = side
        self._per_image = per_image
        self._augment = augment
        self._seed = seed
        self._workers = 0 if images.in_memory else workers

    def __len__(self) -> int:
        return len(self._images) * self._per_image

    def batches(self, parts: Sequence[np.ndarray], epoch: int) -> Iterator[Tensor]:
        """See `Source`."""
        places = numpy_generator(self._seed, "crop", epoch).random((len(self), 2))
        symmetries = _symmetries(len(self), self._augment, self._seed, epoch)

        def cut(part: np.ndarray) -> Tensor:
            crops = [self._crop(int(n), places[n], 0 if symmetries is None else int(symmetries[n])) for n in part]
            return torch.stack(crops)

        for _, batch in read_ahead(parts, cut, self._workers):
            if isinstance(batch, Exception):
                raise batch
            yield batch

    def _crop(self, number: int, place: np.ndarray, symmetry: int) -> Tensor:
        pixels = self._images.pixels(number % len(self._images))
        height, width = pixels.shape[:2]
        top = int(place[0] * (max(height, self._side) - self._side + 1))
        left = int(place[1] * (max(width, self._side) - self._side + 1))
        crop = to_channels(pixels[top : top + self._side, left : left + self._side], self._channels)
        return _turn(reflect_to(crop, self._side), symmetry)


class ResidentCrops:
    """The crops of `CropSource`, cut on the device where all images lie as uint8: no loader and no copy in the way."""

    def __init__(
        self,
        images: Images,
        channels: int,
        side: int,
        per_image: int,
        augment: Augment,
        seed: int,
        device: torch.device,
    ) -> None:
        """As `CropSource`; the images must fit into the device's memory."""
        planes = [to_channels(images.pixels(index), channels) for index in range(len(images))]
        self._heights = np.array([plane.shape[1] for plane in planes])
        self._widths = np.array([plane.shape[2] for plane in planes])
        ends = np.cumsum(self._heights * self._widths)
        self._layout = torch.from_numpy(np.stack((ends - self._heights * self._widths, self._heights, self._widths)))
        self._layout = self._layout.to(device)
        self._pixels = torch.cat([plane.flatten(1) for plane in planes], 1).to(device)
        self._side = side
        self._per_image = per_image
        self._augment = augment
        self._seed = seed
        # Where each pixel of a turned crop comes from: 8 symmetries × side × side, rows and columns.
        grid = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"))
        self._turned = torch.stack([_turn(grid, kind) for kind in range(8)], 1).to(device)

    def __len__(self) -> int:
        return len(self._heights) * self._per_image

    def batches(self, parts: Sequence[np.ndarray], epoch: int) -> Iterator[Tensor]:
        """See `Source`."""
        device = self._pixels.device
        places = numpy_generator(self._seed, "crop", epoch).random((len(self), 2))
        numbers = np.arange(len(self)) % len(self._heights)
        spans = [np.maximum(sides[numbers], self._side) - self._side + 1 for sides in (self._heights, self._widths)]
        symmetries = _symmetries(len(self), self._augment, self._seed, epoch)
        kinds = np.zeros(len(self), np.int64) if symmetries is None else symmetries
        corners = (places * np.stack(spans, 1)).astype(np.int64)
        drawn = torch.from_numpy(np.stack((numbers, corners[:, 0], corners[:, 1], kinds))).to(device)
        for numbers in send_together(parts, device):
            number, top, left, kind = drawn[:, numbers]
            start, height, width = (row[:, None, None] for row in self._layout[:, number])
            rows = reflected(self._turned[0, kind] + top[:, None, None], height)
            columns = reflected(self._turned[1, kind] + left[:, None, None], width)
            yield self._pixels[:, start + rows * width + columns].transpose(0, 1)


def scaled_crops(images: Tensor, drawn: np.ndarray) -> Tensor:
    """Half to all of the area of each of N × C × H × W uint8 images, scaled back to H × W, every other one mirrored.

    Args:
        drawn: N × 4 numbers in [0, 1): area, place across and down, mirrored or not.
    """
    area, across, down, mirrored = torch.from_numpy(drawn.astype(np.float32)).to(images.device).T
    side = (_LEAST_AREA + (1 - _LEAST_AREA) * area).sqrt()
    maps = torch.zeros(len(images), 2, 3, device=images.device)
    maps[:, 0, 0] = torch.where(mirrored < 0.5, -side, side)
    maps[:, 1, 1] = side
    maps[:, 0, 2], maps[:, 1, 2] = ((2 * place - 1) * (1 - side) for place in (across, down))
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False).round_().to(torch.uint8)


def reflect_to(image: Tensor, side: int) -> Tensor:
    """Continue a C × H × W image by reflection until no side is below `side`."""
    for dim in (1, 2):
        length = image.shape[dim]
        if length < side:
            image = image.index_select(dim, reflected(torch.arange(side), length))
    return image


def whole_images(photos: Images, channels: int, size: tuple[int, int]) -> Tensor:
    """All images as one N × C × H × W uint8 tensor; those of another size are cut to its shape and scaled."""
    images = torch.empty((len(photos), channels, *size), dtype=torch.uint8)
    for index in range(len(photos)):
        images[index] = to_channels(fit_pixels(photos.pixels(index), size), channels)
    return images


def common_size(images: Sequence[Images]) -> tuple[int, int] | None:
    """Height and width if all images share them, else None."""
    sizes = {size for split in images for size in split.sizes}
    return sizes.pop() if len(sizes) == 1 else None


def _symmetries(count: int, augment: Augment, seed: int, epoch: int) -> np.ndarray | None:
    """One of the square's eight symmetries for every sample (0 to 7; 0 and 4 alone for flips), or None."""
    if augment in (Augment.NONE, Augment.CROP):
        return None
    drawn = numpy_generator(seed, "symmetry", epoch).integers(0, 8, count)
    return drawn if augment is Augment.DIHEDRAL else drawn & 4


def _turn(image: Tensor, symmetry: int) -> Tensor:
    """Turn a C × H × W image by `symmetry` % 4 quarters and mirror it from 4 on."""
    turned = torch.rot90(image, symmetry % 4, (1, 2)) if symmetry % 4 else image
    return turned.flip(2) if symmetry >= 4 else turned
