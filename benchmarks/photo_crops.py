"""Crops of photos for `gan train` and `ae train`, many small images of what few photos show.

    python benchmarks/photo_crops.py PHOTOS... -o FOLDER [--side 32] [--each 12] [--seed 0]

Every photo is scaled until its shorter side is twice the crops'; `--each` crops of random places are taken, every other
one mirrored. One photo in five gives crops to FOLDER/test, the others to FOLDER/train, so that no photo stands on both
sides. The same arguments make the same files.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from dltool.errors import DltoolError
from dltool.images.folder import find_images
from dltool.images.read import read_image


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("-o", "--output", required=True, type=Path)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--each", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    counts = {"train": 0, "test": 0}
    for split in counts:
        (options.output / split).mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(path for folder in options.photos for path in find_images(folder)):
        try:
            photo = read_image(path).image.convert("RGB")
        except DltoolError as error:
            print(f"left out: {error}")
            continue
        split = "test" if number % 5 == 4 else "train"
        for image in crops(photo, options.side, options.each, random):
            image.save(options.output / split / f"{counts[split]:06d}.png")
            counts[split] += 1
    print(f"{counts['train']} crops of {options.side} pixels to learn from and {counts['test']} to compare with")


def crops(photo: Image.Image, side: int, count: int, random: np.random.Generator) -> list[Image.Image]:
    """So many of one photo, `side` pixels square."""
    scale = 2 * side / min(photo.size)
    small = photo.resize([max(2 * side, round(scale * length)) for length in photo.size], Image.Resampling.LANCZOS)
    found = []
    for number in range(count):
        left, top = (int(random.integers(length - side + 1)) for length in small.size)
        crop = small.crop((left, top, left + side, top + side))
        found.append(ImageOps.mirror(crop) if number % 2 else crop)
    return found


if __name__ == "__main__":
    main()
