"""How good generators are after the same time of training on FashionMNIST, beside the loop that tutorials show.

    python benchmarks/gan_quality.py DATA [--minutes 10] [--archs textbook,mlp,dcgan,modern,modern-unconditional]
                                     [--samples 10000] [--threads 2] [--seed 0] [--cpu-time] [--lr RATE]
                                     [--penalty-every N] [--json FILE] [--sheet FILE.png]

Every contestant has the same wall time from its first step to its last (for dltool that includes the quality figures
by which it keeps its best snapshot) and sees the 60,000 training images only. Then 10,000 samples of each are
compared with the 10,000 test images as `dltool gan evaluate` does, in features of the bundled backbone; `training
set` is what 10,000 training images get. `textbook` is the network of `mlp` in the loop of `textbook_gan.py`: default
DataLoader, ToTensor, binary cross-entropy after a sigmoid, Adam 2e-4. On a machine that does other work, the CPU
seconds tell how much of it a contestant had; `--cpu-time` counts the minutes of dltool's contestants in CPU time.
`modern` learns the classes where the data has them, and then draws as many samples of each; `modern-unconditional` is
not told them, like the others. `--lr` and `--penalty-every` (4; 1 is R3GAN's own) train otherwise than the defaults.
DATA holds FashionMNIST/raw.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from textbook_gan import TextbookLoop, textbook_fashion
from torch import Tensor

from dltool.data.builtin import load_builtin
from dltool.data.settings import DataSettings
from dltool.device import describe_device, select_device
from dltool.events import finish
from dltool.gan import loop, step
from dltool.gan.evaluate import Comparison, compare
from dltool.gan.features import Extractor
from dltool.gan.images import grid_page
from dltool.gan.networks import Generator, build_discriminator, build_generator
from dltool.gan.sample import generate
from dltool.gan.settings import Arch, GanSettings, NetworkSpec
from dltool.gan.train import train_gan
from dltool.images.sheet import stack_pages, title_page
from dltool.images.write import write_image
from dltool.training import session
from dltool.training.context import RunContext
from dltool.training.seeds import new_generator, seeded

_SIZE = 28


@dataclass(frozen=True)
class Row:
    """One contestant: what its training took, and the figures of its samples."""

    name: str
    seconds: float
    cpu_seconds: float
    images: int
    figures: Comparison


def train_textbook(data: Path, seconds: float, seed: int, device: torch.device) -> tuple[Generator, int, float]:
    """The generator, images that it was trained on, seconds."""
    spec = NetworkSpec(Arch.MLP, _SIZE, 1)
    with seeded(seed, "textbook"), textbook_fashion(data) as images:
        networks = build_generator(spec), build_discriminator(spec)
        loop = TextbookLoop(*networks, images, batch_size=64, latent_dim=spec.latent_dim, device=device)
        loop.train(seconds)
    return loop.generator.eval(), loop.images, loop.seconds


def train_own(
    arch: str, data: Path, seconds: float, seed: int, device: torch.device, lr: float | None
) -> tuple[Generator, int, float]:
    """The best snapshot, images that were trained on, seconds; `ARCH-unconditional` is not told the classes."""
    arch, _, unconditional = arch.partition("-")
    told = {"conditional": False} if unconditional else {}
    settings = GanSettings(arch=Arch(arch), time=seconds, seed=seed, lr=lr, **told)
    # torchvision's test set is no part of what `gan train` looks at.
    result = finish(train_gan(DataSettings("fashion-mnist", root=data), settings, RunContext(device)))
    assert result is not None
    print(f"  {arch}: best epoch {result.best_epoch} of {result.epochs}", flush=True)
    return result.generator.module, result.images_seen, result.seconds


def main() -> None:
    """Train the contestants one after the other and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--archs", default="textbook,mlp,dcgan,modern,modern-unconditional")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--penalty-every", type=int)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.cpu_time:
        session.time = SimpleNamespace(monotonic=time.process_time)
    if options.penalty_every:
        step.PENALTY_EVERY = loop.PENALTY_EVERY = options.penalty_every
    device = select_device(options.device)
    extractor = Extractor("efficientnet_lite0", _SIZE, device)
    splits = load_builtin("fashion-mnist", options.data, download=False).splits
    real, training = (torch.from_numpy(splits[name].images.copy())[:, None] for name in ("test", "train"))
    features = extractor(real)
    rows: list[Row] = []
    pages: list[np.ndarray] = []

    def score(name: str, photos: Tensor, seconds: float = 0, cpu: float = 0, images: int = 0) -> None:
        rows.append(Row(name, seconds, cpu, images, compare(features, extractor(photos), options.seed)))
        pages.extend([title_page(f"{name}, {seconds:.0f} s", 24 * 58), grid_page(photos[:96], columns=24, scale=2)])
        print(f"  {name}: Fréchet distance {rows[-1].figures.frechet}", flush=True)

    chosen = torch.randperm(len(training), generator=new_generator(options.seed, "benchmark"))[: options.samples]
    score("training set", training[chosen])
    for arch in options.archs.split(","):
        cpu = time.process_time()
        work = (options.data, 60 * options.minutes, options.seed, device)
        generator, images, seconds = train_textbook(*work) if arch == "textbook" else train_own(arch, *work, options.lr)
        cpu = time.process_time() - cpu
        noise = torch.randn(
            options.samples, generator.spec.latent_dim, generator=new_generator(options.seed, "benchmark", arch)
        )
        classes = generator.spec.num_classes
        labels = torch.arange(options.samples) % classes if classes else None  # the test set has as many of each
        score(arch, generate(generator, noise, labels), seconds, cpu, images)
    print_table(rows, real, extractor, describe_device(device), options)
    if options.sheet:
        write_image(options.sheet, stack_pages(pages))
    if options.json:
        described = {"minutes": options.minutes, "threads": options.threads, "device": describe_device(device)}
        described |= {"extractor": extractor.name, "resizing": extractor.resizing, "seed": options.seed}
        options.json.write_text(json.dumps({**described, "rows": [asdict(row) for row in rows]}, indent=2))


def print_table(rows: list[Row], real: Tensor, extractor: Extractor, device: str, options: argparse.Namespace) -> None:
    """One row per contestant, and what the figures depend on."""
    print(f"\n{options.samples} samples against {len(real)} test pictures of FashionMNIST")
    print(f"features: {extractor.name}, {extractor.dim} of them; resizing: {extractor.resizing}")
    print(f"{options.minutes:g} minutes each on {device}, {options.threads} threads\n")
    print(f"{'':21}{'seconds':>8} {'CPU s':>7} {'images':>9} {'Fréchet':>8} {'KID':>16} {'precision':>9} {'recall':>7}")
    for row in rows:
        figures = row.figures
        kid = f"{figures.kid.value:.3f} ± {figures.kid.error:.3f}" if figures.kid else ""
        frechet = "" if figures.frechet is None else f"{figures.frechet:.1f}"
        print(
            f"{row.name:21}{row.seconds:8.0f} {row.cpu_seconds:7.0f} {row.images:9} {frechet:>8} {kid:>16} "
            f"{figures.precision:9.3f} {figures.recall:7.3f}"
        )
    found = {row.name: row.figures.frechet for row in rows if row.figures.frechet is not None}
    pairs = [("modern", "mlp"), ("modern-unconditional", "mlp"), ("mlp", "textbook")]
    for name, other in pairs:
        if name in found and other in found:
            print(f"{name} / {other}: {found[name] / found[other]:.2f}")


if __name__ == "__main__":
    main()
