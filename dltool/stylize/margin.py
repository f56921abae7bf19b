"""A border that an image is worked on with and that is cut off at the end.

A network pads with zeros, so its features say little about the outermost rows and columns, which the optimization then
leaves as confetti. Continued by reflection, the image has its own border inside.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Margin:
    """A border of `width` pixels around an image of `size` (width, height), narrower at smaller scales.

    Use `around`, which leaves room for reflection.
    """

    size: tuple[int, int]
    width: int

    @classmethod
    def around(cls, size: tuple[int, int], width: int) -> "Margin":
        """A border of at most `width` pixels: reflection takes fewer than the shorter side."""
        return cls(size, min(width, min(size) - 1))

    def add(self, image: Tensor) -> Tensor:
        """Continue an N × C × H × W image by reflection."""
        return F.pad(image, (self.width,) * 4, mode="reflect") if self.width else image

    def at(self, size: tuple[int, int]) -> tuple[int, int]:
        """Columns and rows that the border has on each side of an image scaled to `size`."""
        across, down = (round(self.width * own / whole) for own, whole in zip(size, self.size, strict=True))
        return across, down

    def outer_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height with the border of an image scaled to `size`."""
        across, down = self.at(size)
        return size[0] + 2 * across, size[1] + 2 * down

    def cut(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        """Take the border off an image of `outer_size(size)`."""
        across, down = self.at(size)
        return image[..., down : down + size[1], across : across + size[0]].contiguous()
