"""Transparent images for those that know no transparency: continued by their own colours, or cut to what is seen."""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.images.read import DecodedImage
from dltool.images.tensors import to_pixels, to_tensor

_SURE = 32  # below this alpha (of 255) eight bits say less and less of a pixel's colour


def fill_transparent(image: DecodedImage) -> DecodedImage:
    """Continue what can be seen of an image into its transparent parts, so that no network or filter sees an edge.

    Colours are averaged over ever larger blocks of what can be seen, and what is missing is filled from the smallest
    block that has some (pull and push: Gortler et al., "The Lumigraph", 1996). The alpha stays; an image of which
    nothing can be seen is returned as it is.
    """
    if image.alpha is None or image.alpha.min() >= _SURE or not image.alpha.any():
        return image
    known = torch.from_numpy(image.alpha.astype(np.float32) / _SURE).clamp(max=1)[None, None]
    filled = to_pixels(_fill(to_tensor(image.pixels) * known, known))
    return replace(image, pixels=filled)


def cut_to_visible(image: DecodedImage) -> DecodedImage:
    """Cut an image to the rectangle around what is at least half as opaque as its most opaque pixel."""
    if image.alpha is None or not image.alpha.any():
        return image
    seen = image.alpha > int(image.alpha.max()) // 2
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    pixels, alpha = (np.ascontiguousarray(values[part]) for values in (image.pixels, image.alpha))
    return replace(image, pixels=pixels, alpha=alpha, size=pixels.shape[1::-1])


def visible_share(alpha: np.ndarray | None) -> Tensor | None:
    """How much of each pixel counts, 1 × 1 × H × W in [0, 1], 1 for the most opaque; None where all count alike."""
    if alpha is None or alpha.min() == alpha.max():
        return None if alpha is None or alpha.any() else torch.zeros(1, 1, *alpha.shape)
    return torch.from_numpy(alpha.astype(np.float32) / alpha.max())[None, None]


def _fill(sums: Tensor, known: Tensor) -> Tensor:
    """Colours of 1 × 3 × H × W from those multiplied by how well each pixel is `known`, 1 × 1 × H × W in [0, 1]."""
    own = sums / known.clamp_min(1e-6)
    if known.min() >= 1 or known.numel() == 1:
        return own
    pooled, share = (F.avg_pool2d(each, 2, ceil_mode=True) for each in (sums, known))
    enough = (4 * share).clamp(max=1)  # one pixel of the four tells what colour is here
    coarse = _fill(pooled * (enough / share.clamp_min(1e-6)), enough)
    around = F.interpolate(coarse, known.shape[2:], mode="bilinear", align_corners=False)
    return torch.lerp(around, own, known)
