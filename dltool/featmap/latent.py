"""What the numbers of a code mean: images along one latent dimension after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dltool.errors import SettingsError
from dltool.featmap.network import Network, frozen
from dltool.images.sheet import Tile, contact_sheet, cut_pages, stack_pages, title_page

_STEPS = 7
_REACH = 3.0
_TILE = 96
_HIGHEST = 2400


@dataclass(frozen=True)
class Traversal:
    """The images that a code gives while one of its numbers takes other values.

    Attributes:
        dimension: which number.
        values: what it is for each image.
        images: steps × H × W × 3 uint8.
        effect: mean difference of the first and the last image, in levels of 255.
    """

    dimension: int
    values: tuple[float, ...]
    images: np.ndarray
    effect: float


def traverse(network: Network, images: Tensor, count: int) -> list[Traversal]:
    """Go along each latent dimension of one image's code, or of a generator's noise, and keep those that do most.

    Noise goes from -3 to 3, three standard deviations of what the generator learnt from. An autoencoder's codes have
    no such scale: each number goes three times the code's root mean square to both sides of where it is.

    Args:
        images: an input of the network, N = 1: normalised 1 × C × H × W, or noise, 1 × latent_dim (and classes).
        count: of dimensions that are kept, the ones with the largest effect first.

    Raises:
        SettingsError: the network has no code.
    """
    if not network.latent_dim:
        raise SettingsError(f"--traverse: {network.name} has no code to go along; an autoencoder or generator has one")
    with frozen(network.module), torch.no_grad():
        code = images if network.takes_noise else network.module.encode(images)
        code = code[0].float()
        offsets = torch.linspace(-_REACH, _REACH, _STEPS, device=code.device)
        found = []
        for dimension in range(network.latent_dim):
            moved = code.repeat(_STEPS, 1)
            moved[:, dimension] = (
                offsets if network.takes_noise else code[dimension] + offsets * code.square().mean().sqrt()
            )
            pixels = decoded(network, moved)
            effect = float(np.abs(pixels[0].astype(np.float32) - pixels[-1]).mean())
            found.append(Traversal(dimension, tuple(moved[:, dimension].tolist()), pixels, effect))
    return sorted(found, key=lambda one: -one.effect)[:count]


def decoded(network: Network, codes: Tensor) -> np.ndarray:
    """The images of N codes or rows of noise, N × H × W × 3 uint8."""
    with frozen(network.module), torch.no_grad():
        images = (network.module(codes) + 1) / 2 if network.takes_noise else network.module.decode(codes)
    pixels = images.float().clamp(0, 1).mul(255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1)
    return pixels.expand(-1, -1, -1, 3).contiguous().numpy()


def traversal_pages(traversals: Sequence[Traversal], image: np.ndarray, source: str) -> list[np.ndarray]:
    """Draw one row per dimension, each image with the value that its number has, the image that they start from above.

    Args:
        image: H × W × 3 uint8.
        source: image and network, for the title.

    Returns:
        Pages of H × W × 3 uint8.
    """
    rows = [
        contact_sheet(
            [Tile(pixels, f"{value:.2f}") for pixels, value in zip(one.images, one.values, strict=True)],
            *(_STEPS, _TILE, f"number {one.dimension}: moves the image by {one.effect:.1f} levels of 255"),
        )
        for one in traversals
    ]
    title = f"{source} · along {len(traversals)} of the code's numbers, those that change most first"
    head = stack_pages([title_page(title, rows[0].shape[1]), contact_sheet([Tile(image)], 1, 2 * _TILE)])
    return cut_pages(head, rows, _HIGHEST)
