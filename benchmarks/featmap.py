"""How far featmap's maps can be trusted, what they cost, and which networks it takes.

    python benchmarks/featmap.py trust FOLDER... [--images 20] [--methods gradcam,saliency] [--json FILE]
    python benchmarks/featmap.py backbones [--only PATTERN] [--json FILE]

`trust` explains the bundled network's first answer to each image by every method and measures insertion minus
deletion (Petsiuk et al. 2018), beside two maps that know nothing: random pixels, and random 7 × 7 fields enlarged as a
CAM is. `backbones` lists the layers of each of torchvision's classifiers, untrained and small, and draws the map of
the last one that is no pooling.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.registry import create_backbone, list_backbones
from dltool.errors import SettingsError
from dltool.events import finish
from dltool.featmap.activations import feature_maps
from dltool.featmap.cam import choose_layer, enlarge
from dltool.featmap.layers import last_maps, list_layers
from dltool.featmap.methods import explain
from dltool.featmap.network import Network, answer, network_from_backbone
from dltool.featmap.settings import MapSettings, Method, WhySettings, parse_methods
from dltool.featmap.sheets import layer_sheets
from dltool.featmap.targets import Target
from dltool.featmap.trust import measure_trust
from dltool.images.folder import find_images
from dltool.images.read import read_image

CPU = torch.device("cpu")
SMALL = 64
RANDOM_MAPS = ("random pixels", "random fields")


def main() -> None:
    """Run the part that the command line names; print a table, write the figures as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("trust", "backbones"))
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--images", type=int, default=20, help="in all, the same number from each folder")
    parser.add_argument("--methods", default="all")
    parser.add_argument("--only", default="*", help="backbones whose names match")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.part == "trust":
        figures = trust(options.folders, options.images, parse_methods([options.methods]))
    else:
        figures = backbones(options.only)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def trust(folders: list[Path], images: int, methods: tuple[Method, ...]) -> dict[str, Any]:
    """Print, for each method, the mean scores, how often it beats a random map, and its seconds per image."""
    network = network_from_backbone(create_backbone(DEFAULT_BACKBONE), CPU)
    each = images // max(1, len(folders))
    files = [file for folder in folders for file in find_images(folder)[:each]]
    if not files:
        sys.exit("trust: name folders with pictures")
    rows: dict[str, list[dict[str, float]]] = {}
    for number, file in enumerate(files):
        for name, figures in _scores(network, file, methods, number):
            rows.setdefault(name, []).append(figures)
        print(f"{number + 1}/{len(files)} {file.name}", file=sys.stderr, flush=True)
    print(f"{len(files)} pictures, {network.name} at {network.size} px, {torch.get_num_threads()} thread(s)")
    print(f"{'method':22} deletion  insertion     gain  beats pixels  beats fields  s/picture")
    table = {}
    for name, figures in rows.items():
        table[name] = {key: mean(one[key] for one in figures) for key in ("deletion", "insertion", "gain", "seconds")}
        for rival in RANDOM_MAPS:
            table[name][f"beats {rival}"] = sum(
                one["gain"] > other["gain"] for one, other in zip(figures, rows[rival], strict=True)
            )
        row = table[name]
        print(
            f"{name:22} {row['deletion']:8.3f}  {row['insertion']:9.3f}  {row['gain']:+7.3f}"
            f"  {row['beats random pixels']:9}/{len(files)}  {row['beats random fields']:9}/{len(files)}"
            f"  {row['seconds']:9.2f}"
        )
    return {"pictures": [str(file) for file in files], "methods": table, "each": rows}


def _scores(
    network: Network, file: Path, methods: tuple[Method, ...], seed: int
) -> Iterator[tuple[str, dict[str, float]]]:
    image = network.to_input([network.crop(read_image(file).pixels)])
    with torch.no_grad():
        target = Target(int(answer(network, image).argmax()))
    layer = choose_layer(network, list_layers(network), image, [target])
    random = np.random.default_rng(seed)
    fields = enlarge(torch.from_numpy(random.random((1, 7, 7))), (network.size, network.size))[0].numpy()
    heats = dict(zip(RANDOM_MAPS, (random.random((network.size, network.size)), fields), strict=True))
    seconds = dict.fromkeys(heats, 0.0)
    for method in methods:
        started = time.perf_counter()
        heats[method.value] = finish(explain(network, image, [target], method, WhySettings(), layer))[0].values
        seconds[method.value] = time.perf_counter() - started
    for name, heat in heats.items():
        found = measure_trust(network, image, target, heat)
        yield (
            name,
            {
                "deletion": found.deletion,
                "insertion": found.insertion,
                "gain": found.gain,
                "seconds": seconds[name],
            },
        )


def backbones(pattern: str) -> dict[str, Any]:
    """List the layers of every classifier and draw its last map; print one line each."""
    names = [name for name in list_backbones() if name != DEFAULT_BACKBONE and fnmatchcase(name, pattern)]
    figures: dict[str, Any] = {}
    for name in names:
        started = time.perf_counter()
        try:
            figures[name] = _look_into(name)
        except Exception as error:  # the table is to say which network fails, and how
            figures[name] = {"error": f"{type(error).__name__}: {error}"}
        figures[name]["seconds"] = time.perf_counter() - started
        print(f"{name:22} {figures[name]}", flush=True)
    failed = [name for name, figure in figures.items() if "error" in figure]
    print(f"{len(names) - len(failed)} of {len(names)} classifiers listed and drawn; failed: {failed or 'none'}")
    return figures


def _look_into(name: str) -> dict[str, Any]:
    backbone = create_backbone(name, "none")
    try:
        network = network_from_backbone(backbone, CPU, SMALL)
        layers = list_layers(network)
    except SettingsError:  # a transformer of one size, or a network that shrinks a small image to nothing
        network = network_from_backbone(backbone, CPU)
        layers = list_layers(network)
    last = last_maps(layers)[0]
    image = np.random.default_rng(0).integers(0, 256, (network.size, network.size, 3), dtype=np.uint8)
    feature = feature_maps(network, network.to_input([image]), {last: last})[0][0]
    page = layer_sheets(feature, image, name, MapSettings())[0]
    flat = not feature.values.std() > 0
    return {
        "size": network.size,
        "layers": len(layers),
        "last": last,
        "shape": feature.values.shape,
        "page": page.shape[:2],
        **({"error": "the last map is flat"} if flat else {}),
    }


if __name__ == "__main__":
    main()
