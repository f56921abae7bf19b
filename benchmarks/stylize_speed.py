"""How fast `dltool stylize` is, beside a plain textbook loop with the same network, the same loss, the same images.

    python benchmarks/stylize_speed.py [--networks efficientnet_lite0,vgg16] [--evaluations 300] [--json FILE]
    python benchmarks/stylize_speed.py --together 1,2,4,8 [--sizes 96,128,192,256] [--device cpu]

The textbook loop is what most tutorials do: full resolution from the first step, float32 in contiguous memory, the
whole network up to its last layer, torch's L-BFGS as it comes, started from the photo. Its loss is content and style
alone, so dltool has --chroma-weight 0 and --margin 0 here. Both sides are judged by the loss of the image that would be
written, clamped to [0, 1], in float32; dltool is given more steps until it is at the textbook loop's loss or below.
Each side runs in a process of its own, so that the peak of memory is its own; seconds are of the optimization alone,
imports and weights excluded, but for the command, which is the whole `dltool stylize`.
Needs the photo, the painting and (for VGG-16) the weights that DLTOOL_TEST_DATA points to.

With --together instead: how long a step of one image takes when N images of one size (w x 3/4 w) go through
EfficientNet-Lite0 at once, each with its own L-BFGS, against N that go alone. dltool's rule of what goes together
follows it.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

DATA = Path(os.environ.get("DLTOOL_TEST_DATA", Path(__file__).parents[2] / "shared"))
PHOTO = DATA / "data" / "style" / "content" / "tubingen.jpg"
PAINTING = DATA / "data" / "style" / "paintings" / "starry_night.jpg"
WEIGHTS = {"efficientnet_lite0": "default", "vgg16": str(DATA / "weights" / "vgg16_features_imagenet_fp16.safetensors")}


def main() -> None:
    """Run every part in a process of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default=",".join(WEIGHTS))
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--together")
    parser.add_argument("--sizes", default="96,128,192,256")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    if arguments.together:
        _compare_groups(_numbers(arguments.sizes), _numbers(arguments.together), arguments.device)
        return
    if arguments.part:
        part, network, goal = arguments.part.split(":")
        run = {"textbook": _textbook, "dltool": _dltool}[part]
        print(json.dumps(run(network, arguments.size, arguments.evaluations, float(goal))))
        return
    rows = []
    for network in arguments.networks.split(","):
        textbook = _start_part("textbook", network, 0.0, arguments)
        dltool = _start_part("dltool", network, textbook["loss"], arguments)
        row = {
            "network": network,
            "textbook": textbook,
            "dltool": dltool,
            "command": _time_command(network, arguments.size),
        }
        reached = dltool["loss"] <= textbook["loss"]
        row["time_ratio"] = dltool["seconds"] / textbook["seconds"] if reached else None
        rows.append(row)
        _print_row(row)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


def _start_part(part: str, network: str, goal: float, arguments: argparse.Namespace) -> dict:
    words = [sys.executable, __file__, "--part", f"{part}:{network}:{goal}"]
    words += ["--evaluations", str(arguments.evaluations), "--size", str(arguments.size)]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def _time_command(network: str, size: int) -> dict:
    """The whole command with its defaults: seconds, imports included, and its peak of memory."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "dltool", "stylize", str(PHOTO), "-s", str(PAINTING), "-o", f"{folder}/out.png"]
        words += ["--backbone", network, "--weights", WEIGHTS[network], "--size", str(size), "--json"]
        started = time.perf_counter()
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        document = json.loads(process.stdout.read())
        usage = os.wait4(process.pid, 0)[2]
    item = document["items"][0]
    return {
        "seconds": time.perf_counter() - started,
        "network_seconds": item["seconds"],
        "seconds_per_step": item["seconds"] / item["steps"],
        "peak_mb": usage.ru_maxrss / 1024,
    }


def _images(size: int):
    from dltool.images.read import read_image
    from dltool.images.tensors import resize_image, to_tensor

    return [to_tensor(resize_image(read_image(path), size).pixels) for path in (PHOTO, PAINTING)]


def _textbook(network: str, size: int, evaluations: int, _: float) -> dict:
    import torch

    content, style = _images(size)
    loss_of = _textbook_loss(network, content, style)
    image = content.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([image])
    count = 0

    def closure():
        nonlocal count
        count += 1
        optimizer.zero_grad()
        loss = loss_of(image)
        loss.backward()
        return loss

    started = time.perf_counter()
    while count < evaluations:
        optimizer.step(closure)
    seconds = time.perf_counter() - started
    peak = _peak_megabytes()
    with torch.no_grad():
        return _figures(seconds, count, peak, loss_of(image.clamp(0, 1)).item())


def _textbook_loss(network: str, content, style):
    """The loss written out plainly: hooks, flattened features, no dltool code but names of layers and the weights."""
    import torch

    from dltool.backbones.layers import resolve_layers
    from dltool.backbones.registry import create_backbone
    from dltool.stylize import StylizeSettings
    from dltool.stylize.features import default_layers

    backbone = create_backbone(network, WEIGHTS[network])
    model = backbone.module.requires_grad_(False)
    content_layers, style_layers = default_layers(model)
    settings, kept = StylizeSettings(), {}
    for name, module in resolve_layers(model, [*content_layers, *style_layers], "").items():
        keep = partial(_keep_output, kept, name)
        model.get_submodule(module).register_forward_hook(keep)

    def features(image):
        model(backbone.preprocessing.normalize(image))
        return dict(kept)

    def gram(maps):
        flat = maps.flatten(2).squeeze(0)
        return flat @ flat.T / flat.shape[1]

    def relative(value, target):
        return (value - target).square().sum() / target.square().sum()

    with torch.no_grad():
        photo, painting = features(content), features(style)
        grams = {name: gram(painting[name]) for name in style_layers}

    def loss_of(image):
        maps = features(image)
        content_loss = sum(relative(maps[name], photo[name]) for name in content_layers) / len(content_layers)
        style_loss = sum(relative(gram(maps[name]), grams[name]) for name in style_layers) / len(style_layers)
        return settings.content_weight * content_loss + settings.style_weight * style_loss

    return loss_of


def _keep_output(kept: dict, name: str, _module, _inputs, output) -> None:
    kept[name] = output.clone()


def _dltool(network: str, size: int, evaluations: int, goal: float) -> dict:
    import torch

    from dltool.backbones.registry import create_backbone
    from dltool.events import finish
    from dltool.stylize import FeatureNetwork, StyleTargets, StylizeSettings, stylize

    device = torch.device("cpu")
    content, style = _images(size)
    with FeatureNetwork(create_backbone(network, WEIGHTS[network]), device, bf16=None) as features:
        for steps in (evaluations * share // 12 for share in (4, 6, 8, 10, 12, 14, 16, 20, 24)):
            started = time.perf_counter()
            settings = StylizeSettings(size=size, steps=steps, chroma_weight=0, margin=0)
            result = finish(stylize(content, StyleTargets(features, style), features, settings, device))
            seconds, peak = time.perf_counter() - started, _peak_megabytes()
            with torch.no_grad():
                loss = _textbook_loss(network, content, style)(result.image).item()
            if loss <= goal:
                break
    return _figures(seconds, result.steps, peak, loss)


def _compare_groups(sizes: list[int], counts: list[int], device_name: str) -> None:
    """Print milliseconds of a step per image, and the share of the time alone, by size and by images at once."""
    import torch

    from dltool.backbones.registry import create_backbone
    from dltool.stylize import FeatureNetwork

    device = torch.device(device_name)
    print(f"{device}, {torch.get_num_threads()} threads; milliseconds of a step per picture (share of alone)")
    with FeatureNetwork(create_backbone("efficientnet_lite0", "default"), device) as network:
        for side in sizes:
            steps = {count: _steps(network, count, (side * 3 // 4, side), device) for count in (1, *counts)}
            times = {count: [] for count in steps}
            for _ in range(12):  # in turn, so that what else the machine does falls on all of them alike
                for count, step in steps.items():
                    times[count].append(_seconds(step, 3, device) / count)
            best = {count: min(seconds) for count, seconds in times.items()}
            cells = [f"{count}: {1000 * best[count]:6.2f} ({best[count] / best[1]:.2f})" for count in counts]
            print(f"  {side:4d} px   " + "   ".join(cells), flush=True)


def _steps(network, count: int, size: tuple[int, int], device):
    """A function that evaluates and moves `count` random images once."""
    import torch

    from dltool.stylize import StylizeSettings
    from dltool.stylize.descent import Descents
    from dltool.stylize.objective import Objective, Region
    from dltool.stylize.targets import style_grams

    generator = torch.Generator().manual_seed(0)
    photos, style = (torch.rand(number, 3, *size, generator=generator).to(device) for number in (count, 1))
    settings = StylizeSettings()
    objective = Objective(network, photos, [Region(style_grams(network, style))], settings)
    return Descents(objective, photos.split(1), settings).step


def _seconds(step, repeats: int, device) -> float:
    import torch

    started = time.perf_counter()
    for _ in range(repeats):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / repeats


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _figures(seconds: float, steps: int, peak: float, loss: float) -> dict:
    return {"seconds": seconds, "steps": steps, "seconds_per_step": seconds / steps, "peak_mb": peak, "loss": loss}


def _print_row(row: dict) -> None:
    print(f"\n{row['network']}, {PHOTO.stem} + {PAINTING.stem}")
    for side in ("textbook", "dltool"):
        figures = row[side]
        print(
            f"  {side:9} {figures['seconds']:8.1f} s  {figures['steps']:4d} evaluations  "
            f"{1000 * figures['seconds_per_step']:7.1f} ms each  loss {figures['loss']:.4f}  "
            f"peak {figures['peak_mb']:6.0f} MB"
        )
    if row["time_ratio"] is None:
        print("  dltool did not reach the textbook loop's loss")
    else:
        print(f"  dltool is at the textbook loop's loss in {row['time_ratio']:.2f} of its time")
    command = row["command"]
    print(
        f"  command with defaults: {command['seconds']:.1f} s, of which {command['network_seconds']:.1f} s optimizing, "
        f"{1000 * command['seconds_per_step']:.1f} ms a step, peak {command['peak_mb']:.0f} MB"
    )


if __name__ == "__main__":
    main()
