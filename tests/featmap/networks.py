"""Networks for the tests: small ones whose answers are known, real ones as `Network`."""

from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.preprocessing import Preprocessing
from dltool.backbones.registry import create_backbone
from dltool.featmap.network import Network, network_from_backbone
from dltool.images.read import read_image

CPU = torch.device("cpu")


@cache
def lite0() -> Network:
    """The bundled, trained network."""
    return network_from_backbone(create_backbone(DEFAULT_BACKBONE), CPU)


@cache
def untrained(name: str, size: int | None = None) -> Network:
    """A network of random weights."""
    return network_from_backbone(create_backbone(name, "none"), CPU, size)


def wrap(module: nn.Module, size: int = 16, classes: tuple[str, ...] = ()) -> Network:
    """A hand-made module as a network that sees squares of `size` pixels, unnormalised."""
    preprocessing = Preprocessing(resize=size, crop=size, mean=(0.0,) * 3, std=(1.0,) * 3)
    return Network("hand-made", module.eval(), preprocessing, classes, CPU)


def photo(network: Network, path) -> tuple[np.ndarray, Tensor]:
    """The pixels that the network sees of an image, and its input."""
    crop = network.crop(read_image(path).pixels)
    return crop, network.to_input([crop])


def count_hooks(module: nn.Module) -> int:
    """Hooks of all kinds on all modules."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(child, kind)) for child in module.modules() for kind in kinds)


class RedMinusBlue(nn.Module):
    """Class 0's score is the mean of red, class 1's that of blue; `maps` holds the colours themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 3, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.maps.weight.copy_(torch.eye(3)[:, :, None, None])
            self.head.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.relu(self.maps(images)).mean((2, 3)))


def red_left_blue_right(size: int = 16) -> Tensor:
    """A 1 × 3 × size × size image, its left half red, its right half blue."""
    image = torch.zeros(1, 3, size, size)
    image[:, 0, :, : size // 2] = 1
    image[:, 2, :, size // 2 :] = 1
    return image
