"""How fast dltool is on a GPU, beside plain PyTorch loops in the same run.

    python benchmarks/gpu.py [--seconds 5] [--only stylize,unet] [--json FILE]

For each workload: steps a second, CUDA kernels a step, the share of the time in which the card computes, and the ratio
of the rate to a plain loop's that does the same with the same network: written as in a tutorial, with a copy and an
`.item()` in each step. With `--device cpu` it only shows that it runs.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from dltool.autoencoder.settings import AeSettings, ImageData
from dltool.autoencoder.train import train_autoencoder
from dltool.backbones.registry import create_backbone
from dltool.cluster.kmeans import lloyd_torch
from dltool.data.settings import LabelledData
from dltool.denoise.denoiser import SHIPPED_DENOISER, load_denoiser
from dltool.denoise.tiles import restore_in_tiles
from dltool.device import autocast, cpu_cores, describe_device, select_device, use_bf16
from dltool.finetune.settings import FinetuneSettings
from dltool.finetune.train import finetune
from dltool.stylize import FeatureNetwork, StylizeSettings
from dltool.stylize.descent import Descents
from dltool.stylize.objective import Objective, Region
from dltool.stylize.targets import style_grams
from dltool.training.context import RunContext
from dltool.training.events import StepEnd

SAMPLES = Path(__file__).parents[1] / "sample_images"
Turn = Callable[[], int]
"""Does some steps, and returns how many."""


def stylize_turns(network_name: str, side: int, device: torch.device, stack: ExitStack) -> tuple[Turn, Turn]:
    """Evaluations of one image: dltool's, and torch's L-BFGS on the same objective, one evaluation each."""
    weights = "default" if network_name == "efficientnet_lite0" else "none"
    backbone = create_backbone(network_name, weights)
    network = stack.enter_context(FeatureNetwork(backbone, device, bf16=None))
    random = torch.Generator().manual_seed(0)
    photo, style = (torch.rand(1, 3, side, side, generator=random).to(device) for _ in range(2))

    def objective() -> Objective:
        return Objective(network, photo, [Region(style_grams(network, style))], StylizeSettings())

    descents, plain = Descents(objective(), [photo], StylizeSettings()), objective()
    image = photo.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([image], max_iter=1, history_size=10)

    def closure() -> torch.Tensor:
        losses, image.grad = plain._whole(image)
        return losses[0].sum()

    return lambda: len(descents.step()), lambda: (optimizer.step(closure).item(), 1)[1]


def events_turn(events: Generator[Any, None, Any]) -> Turn:
    """A training's steps, as they are told: on a GPU several at once."""
    steps = (event for event in events if isinstance(event, StepEnd))
    last = 0

    def turn() -> int:
        nonlocal last
        number = (event := next(steps)).epoch * event.steps + event.step
        done, last = number - last if last else 0, number
        return done

    return turn


def finetune_turns(device: torch.device, folder: Path) -> tuple[Turn, Turn]:
    """Steps of 32 from JPEGs with all of Lite0, and the tutorial's loop over the same files."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    _write_jpegs(folder)
    settings = FinetuneSettings(strategy="full", epochs=10**6, batch_size=32, seed=0)
    own = finetune(LabelledData(str(folder)), settings, RunContext(device, workers=cpu_cores()))
    crop = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    loader = DataLoader(datasets.ImageFolder(folder, transforms.Compose(crop)), 32, True, num_workers=cpu_cores())
    module = create_backbone("efficientnet_lite0").module.to(device)
    optimizer = torch.optim.AdamW(module.parameters(), 1e-4)
    batches = _endless(loader)

    def plain() -> int:
        images, labels = (each.to(device) for each in next(batches))
        optimizer.zero_grad()
        with autocast(device, use_bf16("auto", device)):
            logits = module(images)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        optimizer.step()
        loss.item()
        return 1

    return events_turn(own), plain


def unet_turns(device: torch.device) -> tuple[Turn, Turn]:
    """Steps of the denoising U-Net with Muon, and the same network with Adam on random crops."""
    from dltool.autoencoder.unet import DenoisingUNet

    settings = AeSettings(arch="unet", noise="gaussian:25/255", epochs=10**6)
    own = train_autoencoder(ImageData(str(SAMPLES / "photos")), settings, RunContext(device))
    module = DenoisingUNet().to(device)
    optimizer = torch.optim.Adam(module.parameters(), 2e-3)
    images = torch.rand(64, 3, 96, 96)

    def plain() -> int:
        clean = images[torch.randint(0, 64, (16,))].to(device)
        optimizer.zero_grad()
        with autocast(device, use_bf16("auto", device)):
            restored = module(clean + 0.1 * torch.randn_like(clean))
        loss = F.l1_loss(restored.float(), clean)
        loss.backward()
        optimizer.step()
        loss.item()
        return 1

    return events_turn(own), plain


def denoise_turns(device: torch.device) -> tuple[Turn, Turn]:
    """Tiles of a photo of 12 megapixels, and the same network on one tile after the other."""
    denoiser = load_denoiser(SHIPPED_DENOISER, device, use_bf16("auto", device))
    pixels = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8)
    tile = pixels[:512, :512].astype(np.float32) / 255

    def plain() -> int:
        denoiser(torch.from_numpy(tile).permute(2, 0, 1)[None].contiguous())
        return 1

    tiles: Iterator[Any] = (step for _ in range(10**6) for step in restore_in_tiles(pixels, denoiser, 512, 48, device))
    return lambda: (next(tiles), 1)[1], plain


def kmeans_turns(device: torch.device) -> tuple[Turn, Turn]:
    """Iterations over 200,000 rows of 128 numbers with 100 centres, and plain addmm, argmin and index_add."""
    rows = torch.rand(200_000 if device.type == "cuda" else 20_000, 128, device=device)
    state = {"own": rows[:100].clone(), "plain": rows[:100].clone()}
    origin = rows.mean(0)

    def own() -> int:
        state["own"] = lloyd_torch(rows, state["own"], origin, 5, 0.0).centers
        return 5

    def plain() -> int:
        centers = state["plain"]
        labels = torch.cdist(rows, centers).argmin(1)
        sums = torch.zeros_like(centers).index_add_(0, labels, rows)
        state["plain"] = sums / torch.bincount(labels, minlength=100).clamp_min(1)[:, None]
        (state["plain"] - centers).square().sum().item()
        return 1

    return own, plain


def measure(turn: Turn, seconds: float, device: torch.device) -> dict[str, float]:
    """Steps a second, then in a shorter profile kernels a step and the share of the time that the card is busy."""
    for _ in range(5):  # libraries choose, graphs are recorded
        turn()
    steps, elapsed = _run(turn, seconds, device)
    found = {"rate": steps / elapsed}
    if device.type == "cuda":
        with profile(activities=[ProfilerActivity.CUDA]) as seen:
            steps, elapsed = _run(turn, min(1.0, seconds), device)
        kernels = [event for event in seen.events() if event.device_type == torch.autograd.DeviceType.CUDA]
        found["kernels"] = len(kernels) / max(1, steps)
        found["busy"] = sum(event.self_device_time_total for event in kernels) / 1e6 / elapsed
    return found


def _run(turn: Turn, seconds: float, device: torch.device) -> tuple[int, float]:
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        steps += turn()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return steps, time.perf_counter() - started


def _write_jpegs(folder: Path) -> None:
    from PIL import Image

    random = np.random.default_rng(0)
    for name in ("one", "other"):
        (folder / name).mkdir()
        for number in range(128):
            coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), np.uint8))
            coarse.resize((640, 480)).save(folder / name / f"{number}.jpg")


def _endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def main() -> None:
    """Measure what is asked for and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--side", type=int, default=512, help="of the image that is stylized")
    parser.add_argument("--only", default="", help="names of workloads, separated by commas")
    parser.add_argument("--fashion", type=Path, help="folder of FashionMNIST, for the GAN")
    parser.add_argument("--json", type=Path)
    typed = parser.parse_args()
    device = select_device(typed.device)
    print(f"{describe_device(device)}, torch {torch.__version__}")
    rows: dict[str, Any] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workloads: dict[str, Callable[[], tuple[Turn, Turn]]] = {
            "stylize": lambda: stylize_turns("efficientnet_lite0", typed.side, device, stack),
            "stylize-vgg19": lambda: stylize_turns("vgg19", typed.side, device, stack),
            "finetune": lambda: finetune_turns(device, folder),
            "unet": lambda: unet_turns(device),
            "denoise": lambda: denoise_turns(device),
            "kmeans": lambda: kmeans_turns(device),
        }
        if typed.fashion:
            from gan_speed import own_turn, textbook_turn
            from textbook_gan import textbook_fashion

            textbook = stack.enter_context(textbook_fashion(typed.fashion))
            workloads["gan"] = lambda: (
                own_turn("modern", typed.fashion, 64, "auto", device),
                textbook_turn("modern", textbook, 64, device),
            )
        for name, make in workloads.items():
            if typed.only and name not in typed.only.split(","):
                continue
            own, plain = (measure(turn, typed.seconds, device) for turn in make())
            rows[name] = {"dltool": own, "plain": plain, "ratio": own["rate"] / plain["rate"]}
            more = "".join(f", {own[key]:.3g} {key}" for key in ("kernels", "busy") if key in own)
            print(
                f"{name}: {own['rate']:.3g} steps/s{more}; {rows[name]['ratio']:.2f} times the plain loop", flush=True
            )
    if typed.json:
        typed.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
