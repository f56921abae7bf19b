"""What a network expects its images to look like: a record that belongs to the weights."""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from torch import Tensor

from dltool.images.read import fit_longest, fit_shortest
from dltool.images.tensors import constant, to_tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LARGEST_SIDE = 4096
_LARGEST_NUMBER = 1000.0
# Beyond this proportion of the sides only the middle is scaled: all that a crop of at most that proportion sees.
_LONGEST_SCALED = 4
# What is done about images that are no squares.
FITS = ("crop", "pad", "squash")
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a network's input.

    Attributes:
        resize: side in pixels that the shorter side is scaled to before cropping.
        crop: side in pixels of the square cut from the centre.
        interpolation: `bilinear` or `bicubic`, antialiased.
        mean, std: of R, G, B in [0, 1]; the network sees (x - mean) / std.
        fit: `crop` cuts the middle out, as above; `pad` scales the longer side to `crop` and fills the square up with
            the mean; `squash` scales each side to `crop`. The last two show all of an image.
        white: the value that is white in files of 16 bits, where the training images used fewer (4095 for 12); 0:
            what each file says itself.
    """

    resize: int = 256
    crop: int = 224
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    fit: str = "crop"
    white: int = 0

    def check(self) -> None:
        """See that it can be used at all: what a file says may be anything.

        Raises:
            ValueError: a size, the interpolation or a number is out of its range; the message says which.
            TypeError: something is of another type.
        """
        for name, side in (("resize", self.resize), ("crop", self.crop)):
            if type(side) is not int or not 1 <= side <= LARGEST_SIDE:
                raise ValueError(f"{name} {side!r} is not from 1 to {LARGEST_SIDE}")
        if self.interpolation not in _FILTERS:
            raise ValueError(f"interpolation {self.interpolation!r} is none of {', '.join(_FILTERS)}")
        if type(self.white) is not int or not 0 <= self.white < 2**16:
            raise ValueError(f"white {self.white!r} is not from 0 to 65535")
        if self.fit not in FITS:
            raise ValueError(f"fit {self.fit!r} is none of {', '.join(FITS)}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3 or not all(abs(value) <= _LARGEST_NUMBER for value in values):  # NaN is not, either
                raise ValueError(f"{name} {list(values)!r} is not three numbers of that kind")
        if not min(self.std) > 0:
            raise ValueError(f"std {list(self.std)!r} is not above 0")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of what a network sees."""
        return self.crop, self.crop

    def scale_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Scale H × W × 3 uint8 pixels so that the shorter side is `resize`; doing it twice changes nothing more.

        With `pad` and `squash` they become crop × crop.

        An image more than four times as long as it is wide is cut to its middle in the same step, so that one of
        10000 × 1 pixels does not become one of 2,240,000 × 224.
        """
        if self.fit != "crop":
            return self._fitted(pixels)
        width, height = pixels.shape[1::-1]
        size = fit_shortest((width, height), self.resize)
        kept = tuple(self._kept_side(side) for side in size)
        if kept == (width, height):
            return pixels
        if kept == size:
            return np.asarray(Image.fromarray(pixels).resize(size, _FILTERS[self.interpolation]))
        x, y = ((whole - part) / 2 / whole for whole, part in zip(size, kept, strict=True))
        box = x * width, y * height, (1 - x) * width, (1 - y) * height
        return np.asarray(Image.fromarray(pixels).resize(kept, _FILTERS[self.interpolation], box))

    def _fitted(self, pixels: np.ndarray) -> np.ndarray:
        """All of an image in crop × crop pixels."""
        square = self.crop, self.crop
        size = square if self.fit == "squash" else fit_longest(pixels.shape[1::-1], self.crop)
        if pixels.shape[1::-1] == square:
            return pixels
        scaled = Image.fromarray(pixels).resize(size, _FILTERS[self.interpolation])
        if size == square:
            return np.asarray(scaled)
        ground = Image.new("RGB", square, tuple(min(255, max(0, round(255 * value))) for value in self.mean))
        ground.paste(scaled, ((self.crop - size[0]) // 2, (self.crop - size[1]) // 2))
        return np.asarray(ground)

    def scales_like(self, other: "Preprocessing") -> bool:
        """Whether `scale_pixels` of both gives the same."""
        sides = [each.resize if each.fit == "crop" else (each.crop, each.mean) for each in (self, other)]
        rest = [(each.interpolation, each.fit, each.white) for each in (self, other)]
        return sides[0] == sides[1] and rest[0] == rest[1]

    def _kept_side(self, side: int) -> int:
        """What is kept of a scaled side; a multiple of 4 is cut off, so that the middle stays where it is."""
        most = _LONGEST_SCALED * self.resize
        return side if side <= most else most + (side - most) % 4

    def crop_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Scale and centre-crop, pad or squash H × W × 3 uint8 pixels: crop × crop × 3 as in evaluation."""
        scaled = self.scale_pixels(pixels)
        height, width = scaled.shape[:2]
        left, top = round((width - self.crop) / 2), round((height - self.crop) / 2)
        return np.asarray(Image.fromarray(scaled).crop((left, top, left + self.crop, top + self.crop)))

    def stretch_pixels(self, pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Scale H × W × 3 uint8 pixels to just `size` (width, height), by the weights' interpolation."""
        return np.asarray(Image.fromarray(pixels).resize(size, _FILTERS[self.interpolation]))

    def at_size(self, crop: int) -> "Preprocessing":
        """The same with another crop, and `resize` in proportion."""
        return replace(self, crop=crop, resize=round(self.resize * crop / self.crop))

    def normalize(self, image: Tensor) -> Tensor:
        """Return (x - mean) / std for an N × 3 × H × W image in [0, 1]; differentiable."""
        mean, std = (constant(values, image.dtype, image.device).view(3, 1, 1) for values in (self.mean, self.std))
        return (image - mean) / std

    def network_input(self, pixels: np.ndarray) -> Tensor:
        """Return H × W × 3 uint8 pixels as the normalised 1 × 3 × crop × crop tensor that the network expects."""
        return self.normalize(to_tensor(self.crop_pixels(pixels)))
