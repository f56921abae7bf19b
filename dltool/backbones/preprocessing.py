"""What a network expects its pictures to look like: a record that belongs to the weights."""

from dataclasses import dataclass

import torch
from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a network's input.

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

    def normalize(self, image: Tensor) -> Tensor:
        """Return (x - mean) / std for an N × 3 × H × W picture in [0, 1]; differentiable."""
        mean = torch.tensor(self.mean, dtype=image.dtype, device=image.device).view(3, 1, 1)
        std = torch.tensor(self.std, dtype=image.dtype, device=image.device).view(3, 1, 1)
        return (image - mean) / std
