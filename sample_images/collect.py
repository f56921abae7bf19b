"""Gather the freely licensed sample pictures from the installed scikit-image and scikit-learn.

Run as ``python sample_images/collect.py``: it rewrites photos/, the two real pictures in styles/ and
textures/ beside this file. Nothing is downloaded; every picture ships inside the two packages.
CREDITS.md names the authors and the licences.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image

HERE = Path(__file__).resolve().parent
LONGEST_SIDE = 640
JPEG_QUALITY = 92
CROPS_PER_SIDE = 6

PHOTOS = {
    "astronaut": data.astronaut,
    "cat": data.chelsea,
    "coffee": data.coffee,
    "rocket": data.rocket,
    "china": lambda: load_sample_image("china.jpg"),
    "flower": lambda: load_sample_image("flower.jpg"),
}
STYLES = {"hubble_deep_field": data.hubble_deep_field, "retina": data.retina}
TEXTURES = {"brick": data.brick, "grass": data.grass, "gravel": data.gravel}


def save_jpeg(pixels: np.ndarray, path: Path) -> None:
    """Write `pixels` as a JPEG, shrunk so that its longest side is at most LONGEST_SIDE."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=JPEG_QUALITY, optimize=True)


def save_crops(pixels: np.ndarray, folder: Path) -> int:
    """Cut `pixels` into a grid of crops that share no pixel, write them as PNG, return how many."""
    folder.mkdir(parents=True, exist_ok=True)
    side = min(pixels.shape[:2]) // CROPS_PER_SIDE
    for number in range(CROPS_PER_SIDE**2):
        top, left = (side * index for index in divmod(number, CROPS_PER_SIDE))
        crop = Image.fromarray(pixels[top : top + side, left : left + side])
        crop.save(folder / f"{folder.name}_{number:02d}.png", optimize=True)
    return CROPS_PER_SIDE**2


def main() -> None:
    """Write the photos, the real style pictures and the texture crops."""
    for folder, pictures in (("photos", PHOTOS), ("styles", STYLES)):
        for name, load in pictures.items():
            save_jpeg(load(), HERE / folder / f"{name}.jpg")
            print(f"{folder}/{name}.jpg")
    for name, load in TEXTURES.items():
        print(f"textures/{name}/: {save_crops(load(), HERE / 'textures' / name)} crops")


if __name__ == "__main__":
    main()
