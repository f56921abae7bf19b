"""Images per second of dltool's GAN steps beside the loop that tutorials show, on the same networks and batch.

    python benchmarks/gan_speed.py [DATA] [--archs mlp,dcgan] [--batch-size 64] [--seconds 10] [--rounds 3]
                                   [--threads 1] [--precisions auto,fp32] [--json FILE]

The textbook's loop is `textbook_gan.py`: torchvision's FashionMNIST with ToTensor, the default DataLoader, two
separate draws of generated images, a sigmoid and binary cross-entropy, plain Adam, float32. dltool's side is `dltool
gan train` from the first step on, its average of the generator included. Both train newly drawn networks of the same
shape, in turns of `--seconds`, so that other work on the machine meets both; the median of the rounds counts. On the
CPU images per CPU-second are printed as well, which other processes disturb less. DATA holds FashionMNIST/raw; the
default is data of DLTOOL_TEST_DATA.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from textbook_gan import TextbookLoop, textbook_fashion

from dltool.data.settings import DataSettings
from dltool.device import describe_device
from dltool.gan.loop import GanStepEnd
from dltool.gan.networks import build_discriminator, build_generator
from dltool.gan.settings import Arch, GanSettings, NetworkSpec
from dltool.gan.train import train_gan
from dltool.training.context import RunContext

DATA = Path(os.environ.get("DLTOOL_TEST_DATA", Path(__file__).parents[2] / "shared")) / "data"


@dataclass(frozen=True)
class Row:
    """Median images per second of one contestant."""

    arch: str
    device: str
    name: str
    images_per_second: float
    images_per_cpu_second: float


def run_for(seconds: float, turn: Callable[[], int], device: torch.device) -> tuple[float, float]:
    """Call `turn`, which returns the images that it trained on, until the time is up; images a second, a CPU second."""
    images, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        images += turn()
        if device.type == "cuda":
            torch.cuda.synchronize()
    return images / (time.perf_counter() - wall), images / (time.process_time() - cpu)


def own_turn(arch: str, data: Path, batch_size: int, precision: str, device: torch.device) -> Callable[[], int]:
    """At least twenty steps of dltool's training, going on where it was; no quality figure falls into them."""
    settings = GanSettings(
        arch=Arch(arch), batch_size=batch_size, epochs=10**6, figure_every=10**6, precision=precision
    )
    events = train_gan(DataSettings("fashion-mnist", root=data), settings, RunContext(device))
    steps = (event for event in events if isinstance(event, GanStepEnd))
    last = 0

    def turn() -> int:
        nonlocal last
        done = 0
        while done < 20:
            number = (event := next(steps)).epoch * event.steps + event.step
            done += number - last if last else 0
            last = number
        return done * batch_size

    return turn


def textbook_turn(
    arch: str, data: torch.utils.data.Dataset, batch_size: int, device: torch.device
) -> Callable[[], int]:
    """Twenty steps of the textbook's loop, its loader going on where it was."""
    spec = NetworkSpec(Arch(arch), 28, 1, 128)
    loop = TextbookLoop(build_generator(spec), build_discriminator(spec), data, batch_size, 128, device)
    batches = loop.batches()

    def turn() -> int:
        for _ in range(20):
            loop.step(next(batches))
        return 20 * batch_size

    return turn


def measure(arch: str, data: Path, options: argparse.Namespace, device: torch.device) -> list[Row]:
    """Both sides in turns, `--rounds` times."""
    with textbook_fashion(data) as textbook:
        turns = {"textbook": textbook_turn(arch, textbook, options.batch_size, device)}
        for precision in options.precisions.split(","):
            turns[f"dltool {precision}"] = own_turn(arch, data, options.batch_size, precision, device)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in turns}
        for turn in turns.values():
            turn()  # compiles, captures, allocates
        for _ in range(options.rounds):
            for name, turn in turns.items():
                found[name].append(run_for(options.seconds, turn, device))
    return [
        Row(arch, describe_device(device), name, *(statistics.median(column) for column in zip(*values, strict=True)))
        for name, values in found.items()
    ]


def main() -> None:
    """Run the contestants on every device and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", default=DATA)
    parser.add_argument("--archs", default="mlp,dcgan")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precisions", default="auto,fp32")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    devices = [torch.device("cpu"), *([torch.device("cuda:0")] if torch.cuda.is_available() else [])]
    rows = []
    print(f"batch {options.batch_size}, {options.threads} CPU threads")
    print(f"{'arch':6} {'device':26} {'':14} {'images/s':>9} {'ratio':>6} {'images/CPU s':>13} {'ratio':>6}")
    for device in devices:
        for arch in options.archs.split(","):
            found = measure(arch, options.data, options, device)
            plain = found[0]
            for row in found:
                wall = row.images_per_second / plain.images_per_second
                cpu = row.images_per_cpu_second / plain.images_per_cpu_second
                print(
                    f"{row.arch:6} {row.device:26} {row.name:14} {row.images_per_second:9.0f} {wall:6.2f} "
                    f"{row.images_per_cpu_second:13.0f} {cpu:6.2f}"
                )
            rows += found
    if options.json:
        described = {"batch_size": options.batch_size, "threads": options.threads, "seconds": options.seconds}
        options.json.write_text(json.dumps({**described, "rows": [asdict(row) for row in rows]}, indent=2))


if __name__ == "__main__":
    main()
