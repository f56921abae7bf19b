"""How far a map can be trusted: does the answer follow the pixels that it calls important?"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.featmap.cam import probability
from dltool.featmap.network import Network, frozen
from dltool.featmap.targets import Target

_BLUR_SIGMA = 16 / 224


@dataclass(frozen=True)
class Trust:
    """Areas under the two curves of Petsiuk et al., "RISE" (BMVC 2018), each from 0 to 1.

    Attributes:
        deletion: of the probability while the image is blurred from its most important pixels on; low is good.
        insertion: of the probability while the blurred image becomes sharp from those pixels on; high is good.
    """

    deletion: float
    insertion: float

    @property
    def gain(self) -> float:
        """Insertion minus deletion, at most 1.

        Both go between the same two images, so that a random map's is 0 on average whatever the image.
        """
        return self.insertion - self.deletion


def measure_trust(
    network: Network, image: Tensor, target: Target, heat: np.ndarray, steps: int = 24, batch_size: int = 8
) -> Trust:
    """Measure a map by deletion and insertion.

    The area is the trapezoidal rule's over `steps` equal shares of the pixels. A strong blur takes an image's content
    away without the sharp edges of a patch in one colour, which themselves sway a network.

    Args:
        image: normalised 1 × 3 × H × W.
        heat: H × W, larger is more important.
    """
    order = np.argsort(-heat.ravel(), kind="stable")
    rank = np.empty(heat.size, np.int64)
    rank[order] = np.arange(heat.size)
    ranks = torch.from_numpy(rank.reshape(heat.shape)).to(image.device)
    limits = [round(heat.size * step / steps) for step in range(steps + 1)]
    blurred = blur(image)
    curves = []
    with frozen(network.module), torch.no_grad():
        for inside, outside in ((blurred, image), (image, blurred)):
            variants = [torch.where(ranks < limit, inside, outside) for limit in limits]
            curve = [
                probability(network.module(torch.cat(variants[first : first + batch_size])), [target] * count)
                for first in range(0, len(variants), batch_size)
                if (count := len(variants[first : first + batch_size]))
            ]
            curves.append(float(torch.trapezoid(torch.cat(curve), dx=1 / steps)))
    return Trust(*curves)


def blur(image: Tensor) -> Tensor:
    """Blur N × C × H × W with a Gaussian whose standard deviation is a fourteenth of the image's longer side."""
    sigma = _BLUR_SIGMA * max(image.shape[2:])
    # A reflected border is at most as wide as the image less one pixel.
    half = min(round(3 * sigma), *(side - 1 for side in image.shape[2:]))
    offsets = torch.arange(-half, half + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(image.shape[1], 1, -1)
    padded = F.pad(image, (half,) * 4, mode="reflect")
    rows = F.conv2d(padded, kernel[..., None], groups=image.shape[1])
    return F.conv2d(rows, kernel[..., None, :], groups=image.shape[1])
