"""Variations of training images, each a function of the image and a generator of its own."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from dltool.backbones.preprocessing import Preprocessing
from dltool.finetune.settings import Augment

_SMALLEST_AREA = 0.35
_RATIO = 4 / 3
_GREY = (128, 128, 128)


def augment_pixels(
    pixels: np.ndarray, kind: Augment, preprocessing: Preprocessing, random: np.random.Generator
) -> np.ndarray:
    """Return crop × crop × 3 uint8 pixels of a scaled H × W × 3 image.

    `none` is the centre crop that evaluation sees; `basic` a random part of 35 to 100 % of the area, mirrored half
    the time (Szegedy et al., 2015); `trivial` one more random operation (TrivialAugment, Müller & Hutter, 2021).
    """
    if kind is Augment.NONE:
        return preprocessing.crop_pixels(pixels)
    image = _random_part(Image.fromarray(pixels), preprocessing.crop, random)
    if random.random() < 0.5:
        image = ImageOps.mirror(image)
    if kind is Augment.TRIVIAL:
        operation = _OPERATIONS[int(random.integers(len(_OPERATIONS)))]
        image = operation(image, float(random.random()), -1 if random.random() < 0.5 else 1)
    return np.asarray(image)


def _random_part(image: Image.Image, side: int, random: np.random.Generator) -> Image.Image:
    width, height = image.size
    for _ in range(10):
        area = random.uniform(_SMALLEST_AREA, 1) * width * height
        ratio = np.exp(random.uniform(-np.log(_RATIO), np.log(_RATIO)))
        w, h = round(float(np.sqrt(area * ratio))), round(float(np.sqrt(area / ratio)))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(random.integers(width - w + 1)), int(random.integers(height - h + 1))
            break
    else:
        w = h = min(width, height)
        left, top = (width - w) // 2, (height - h) // 2
    return image.resize((side, side), Image.Resampling.BILINEAR, box=(left, top, left + w, top + h))


_Operation = Callable[[Image.Image, float, int], Image.Image]


def _enhance(kind: type) -> _Operation:
    return lambda image, strength, sign: kind(image).enhance(1 + sign * 0.99 * strength)


def _shear(image: Image.Image, x: float, y: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, (1, x, 0, y, 1, 0), fillcolor=_GREY)


def _shift(image: Image.Image, x: float, y: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, (1, 0, x, 0, 1, y), fillcolor=_GREY)


# The operations of TrivialAugment (Wide); a strength in [0, 1] and a sign become each one's own magnitude.
_OPERATIONS: tuple[_Operation, ...] = (
    lambda image, strength, sign: image,
    lambda image, strength, sign: _shear(image, sign * 0.99 * strength, 0),
    lambda image, strength, sign: _shear(image, 0, sign * 0.99 * strength),
    lambda image, strength, sign: _shift(image, sign * strength * image.width / 4, 0),
    lambda image, strength, sign: _shift(image, 0, sign * strength * image.height / 4),
    lambda image, strength, sign: image.rotate(sign * 135 * strength, fillcolor=_GREY),
    _enhance(ImageEnhance.Brightness),
    _enhance(ImageEnhance.Color),
    _enhance(ImageEnhance.Contrast),
    _enhance(ImageEnhance.Sharpness),
    lambda image, strength, sign: ImageOps.posterize(image, 8 - round(6 * strength)),
    lambda image, strength, sign: ImageOps.solarize(image, round(255 * (1 - strength))),
    lambda image, strength, sign: ImageOps.autocontrast(image),
    lambda image, strength, sign: ImageOps.equalize(image),
)
