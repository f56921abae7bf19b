"""Between pixels and tensors."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from dltool.images.read import DecodedImage, fit_longest

# Luma of red, green and blue (Rec. 601), as in JPEG and in the tools that keep colours.
LUMA = (0.299, 0.587, 0.114)


@lru_cache(maxsize=64)
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """These values as a tensor that nobody changes, made once: to make it anew, a GPU would have to be waited for."""
    with torch.inference_mode(False):  # so that it may take part in a computation of gradients later
        return torch.tensor(values, dtype=dtype, device=device)


def luma(images: Tensor) -> Tensor:
    """Brightness (ITU-R BT.601), N × 1 × H × W, of N × 3 × H × W images."""
    return (images * constant(LUMA, images.dtype, images.device).view(1, 3, 1, 1)).sum(1, keepdim=True)


def pool_areas(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Means over areas, N × C × h × w of N × C × H × W for a `size` (h, w); MPS has them for sizes that divide only."""
    place = maps.cpu() if maps.device.type == "mps" else maps
    return F.adaptive_avg_pool2d(place, size).to(maps.device)


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Return H × W × 3 uint8 pixels as a contiguous 1 × 3 × H × W float32 tensor in [0, 1]."""
    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1).unsqueeze(0).contiguous()


def to_pixels(image: Tensor) -> np.ndarray:
    """Return a 1 × 3 × H × W tensor, clamped to [0, 1] and rounded, as H × W × 3 uint8 pixels."""
    scaled = image.detach().float().clamp(0, 1).mul(255).round()
    return scaled.squeeze(0).permute(1, 2, 0).to("cpu", torch.uint8).contiguous().numpy()


def is_grey(pixels: np.ndarray) -> bool:
    """Whether the channels of H × W × C pixels are equal."""
    return all(np.array_equal(pixels[..., 0], pixels[..., channel]) for channel in range(1, pixels.shape[2]))


def resize_pixels(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize H × W × 3 or H × W uint8 pixels to `size` (width, height) with Pillow's antialiased Lanczos filter."""
    if pixels.shape[1::-1] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))


def fit_pixels(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Cut H × W (× 3) uint8 pixels about their middle to the shape of `size` (height, width) and scale them to it."""
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(ImageOps.fit(Image.fromarray(pixels), size[::-1], Image.Resampling.LANCZOS))


def resize_image(image: DecodedImage, longest_side: int) -> DecodedImage:
    """Scale an image, and its alpha with it, so that its longer side is `longest_side`."""
    size = fit_longest(image.size, longest_side)
    alpha = None if image.alpha is None else resize_pixels(image.alpha, size)
    return replace(image, pixels=resize_pixels(image.pixels, size), alpha=alpha)
