"""Sheets that show what an autoencoder makes of images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from dltool.autoencoder.reconstruct import Reconstruction
from dltool.images.colormap import overlay
from dltool.images.quality import psnr
from dltool.images.sheet import Tile, contact_sheet
from dltool.images.tensors import to_pixels
from dltool.images.write import write_image

_TINY = 64
_MOST_TINY, _MOST_LARGE = 10, 4


def example_count(height: int, width: int) -> int:
    """How many images a sheet shows: more of tiny ones."""
    return _MOST_TINY if max(height, width) <= _TINY else _MOST_LARGE


def as_pixels(image: Tensor) -> np.ndarray:
    """C × H × W in [0, 1], C 1 or 3, as H × W × 3 uint8."""
    return to_pixels(image.expand(3, -1, -1).unsqueeze(0))


def write_examples(folder: Path, rows: dict[str, Tensor]) -> None:
    """Write each image by itself, as `best-1-clean.png` and so on, for the run's page.

    Args:
        rows: N × C × H × W in [0, 1] by what was done to them.

    Raises:
        DltoolError: a file cannot be written.
    """
    for name, images in rows.items():
        for number, image in enumerate(images, start=1):
            write_image(folder / f"best-{number}-{name}.png", as_pixels(image))


def restoration_sheet(rows: dict[str, Tensor], title: str) -> np.ndarray:
    """Images under each other by what was done to them, tiny ones, or beside each other, larger ones.

    Args:
        rows: N × C × H × W in [0, 1] by name; the first are what the others are measured against.

    Returns:
        H × W × 3 uint8.
    """
    names = list(rows)
    clean = rows[names[0]]
    count = len(clean)
    decibels = {name: psnr(images, clean) for name, images in rows.items()}
    tiny = max(clean.shape[2:]) <= _TINY
    order = [(n, i) for n in names for i in range(count)] if tiny else [(n, i) for i in range(count) for n in names]
    tiles = [Tile(as_pixels(rows[n][i]), _label(n, float(decibels[n][i]))) for n, i in order]
    return contact_sheet(tiles, count if tiny else len(names), 96 if tiny else 256, title)


def _label(name: str, decibel: float) -> str:
    return name if decibel == float("inf") else f"{name} {decibel:.1f} dB"


def reconstruction_sheet(results: Sequence[Reconstruction], noisy: bool) -> np.ndarray:
    """Originals beside what came back (and with `noisy` beside what went in), with name and PSNR; H × W × 3 uint8.

    Beside those that were scored is where they differ, with the score.
    """
    tiny = all(max(result.original.shape[1:]) <= _TINY for result in results)
    tiles = []
    for result in results:
        tiles.append(Tile(as_pixels(result.original), _name(result.path)))
        if noisy:
            tiles.append(Tile(as_pixels(result.input), "with noise"))
        tiles.append(Tile(as_pixels(result.output), f"{result.psnr:.1f} dB"))
        if result.heat is not None:
            verdict = f"{result.score:.2f} unlike" if result.anomaly else f"{result.score:.2f} normal"
            tiles.append(Tile(overlay(as_pixels(result.original), result.heat, "inferno", 0.7), verdict))
    group = 2 + noisy + (results[0].heat is not None)
    groups = min(len(results), 4 if tiny else 2 if len(results) > 3 else 1)
    return contact_sheet(tiles, group * groups, 96 if tiny else 256)


def _name(path: Path) -> str:
    return path.name if path.suffix else str(path)


def enlarge(image: Tensor) -> np.ndarray:
    """C × H × W in [0, 1] as H × W × 3 uint8, tiny images with their pixels repeated to at least 128."""
    pixels = as_pixels(image)
    factor = max(1, -(-128 // max(pixels.shape[:2])))
    return pixels.repeat(factor, 0).repeat(factor, 1)
