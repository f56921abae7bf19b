"""What a network expects its images to look like: a record that belongs to the weights."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dltool.images.read import fit_shortest
from dltool.images.tensors import to_tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a network's input.

    Attributes:
        resize: side in pixels that the shorter side is scaled to before cropping.
        crop: side in pixels of the square cut from the centre.
        interpolation: `bilinear` or `bicubic`, antialiased.
        mean, std: of R, G, B in [0, 1]; the network sees (x - mean) / std.
    """

    resize: int = 256
    crop: int = 224
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def scale_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Scale H × W × 3 uint8 pixels so that the shorter side is `resize`; doing it twice changes nothing more."""
        size = fit_shortest(pixels.shape[1::-1], self.resize)
        if size == pixels.shape[1::-1]:
            return pixels
        return np.asarray(Image.fromarray(pixels).resize(size, _FILTERS[self.interpolation]))

    def crop_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Scale and centre-crop H × W × 3 uint8 pixels as the weights' own evaluation does: crop × crop × 3."""
        scaled = self.scale_pixels(pixels)
        height, width = scaled.shape[:2]
        left, top = round((width - self.crop) / 2), round((height - self.crop) / 2)
        return np.asarray(Image.fromarray(scaled).crop((left, top, left + self.crop, top + self.crop)))

    def at_size(self, crop: int) -> "Preprocessing":
        """The same with another crop, and `resize` in proportion."""
        return replace(self, crop=crop, resize=round(self.resize * crop / self.crop))

    def normalize(self, image: Tensor) -> Tensor:
        """Return (x - mean) / std for an N × 3 × H × W image in [0, 1]; differentiable."""
        mean = torch.tensor(self.mean, dtype=image.dtype, device=image.device).view(3, 1, 1)
        std = torch.tensor(self.std, dtype=image.dtype, device=image.device).view(3, 1, 1)
        return (image - mean) / std

    def network_input(self, pixels: np.ndarray) -> Tensor:
        """Return H × W × 3 uint8 pixels as the normalised 1 × 3 × crop × crop tensor that the network expects."""
        return self.normalize(to_tensor(self.crop_pixels(pixels)))
