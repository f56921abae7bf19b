"""MNIST through a code of ten numbers: test error and seconds of `ae train`, and what noise in training buys.

    python benchmarks/autoencoders.py DATA [--seeds 0 1 2 3 4] [--arch stacked conv] [--threads 2] [--json FILE]

DATA is the folder with MNIST/raw/*.gz. Every seed trains a network twice for 20 epochs with the defaults: on clean
images, and with `--noise gaussian:0.5`. "noisy -> clean" is the squared error to the clean test images when the
network is fed the same noisy ones (sigma 0.5, not clipped). Rows that FILE already holds are kept, so that runs can be
made one by one (`--noise none` trains on clean images alone).
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from dltool.autoencoder.batches import whole_images
from dltool.autoencoder.data import ImageData
from dltool.autoencoder.heldout import HeldOut
from dltool.autoencoder.noise_laws import parse_noise
from dltool.autoencoder.settings import AeSettings
from dltool.autoencoder.train import train_autoencoder
from dltool.autoencoder.trainer import LOSSES
from dltool.events import finish
from dltool.training.context import RunContext

CPU = torch.device("cpu")
NOISE = "gaussian:0.5"


def train(data: Path, arch: str, noise: str, seed: int) -> dict[str, Any]:
    """One run with the defaults; its test errors with clean and with noisy input, and its seconds."""
    settings = AeSettings(arch=arch, noise=noise, latent_dim=10, epochs=20, seed=seed)
    started, cpu = time.perf_counter(), time.process_time()
    result = finish(train_autoencoder(ImageData("mnist", root=data, seed=seed), settings, RunContext(CPU)))
    assert result is not None  # nobody stops it
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    images = result.data.splits["test"]
    test = whole_images(images, 1, (28, 28))
    loss = LOSSES[settings.loss or "mse"]
    model = result.autoencoder.module
    clean = HeldOut((test,), None, 0).measure(model, CPU, loss, structure=False)
    noisy = HeldOut((test,), parse_noise(NOISE), 0).measure(model, CPU, loss, structure=False)
    row = {"arch": arch, "noise": noise, "seed": seed, "seconds": seconds, "cpu_seconds": cpu}
    return row | {"threads": torch.get_num_threads(), "mse": clean["mse"], "noisy_mse": noisy["mse"]}


def table(rows: list[dict[str, Any]]) -> list[str]:
    """A line per run, and per network what training with noise leaves of the error."""
    lines = [f"{'arch':8} {'noise':13} {'seed':>4} {'test MSE':>9} {'noisy -> clean':>15} {'seconds':>8} {'CPU s':>7}"]
    for row in sorted(rows, key=lambda row: (row["arch"], row["noise"], row["seed"])):
        lines.append(
            f"{row['arch']:8} {row['noise']:13} {row['seed']:4} {row['mse']:9.5f} {row['noisy_mse']:15.5f} "
            f"{row['seconds']:8.1f} {row['cpu_seconds']:7.1f}"
        )
    for arch in sorted({row["arch"] for row in rows}):
        by_seed: dict[int, dict[str, float]] = {}
        for row in rows:
            if row["arch"] == arch:
                by_seed.setdefault(row["seed"], {})[row["noise"]] = row["noisy_mse"]
        ratios = [pair[NOISE] / pair["none"] for pair in by_seed.values() if len(pair) == 2]
        if ratios:
            lines.append(f"{arch}: trained with noise, error on noisy pictures {100 * max(ratios):.0f} % at most")
    return lines


def main() -> None:
    """Train everything that is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--arch", nargs="+", default=["stacked", "conv"])
    parser.add_argument("--noise", nargs="+", default=["none", NOISE], choices=["none", NOISE])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = json.loads(options.json.read_text()) if options.json and options.json.is_file() else []
    for seed in options.seeds:
        for arch in options.arch:
            for noise in options.noise:
                row = train(options.data, arch, noise, seed)
                print(f"{arch} {noise} seed {seed}: {row['mse']:.5f}, {row['seconds']:.1f} s", flush=True)
                rows = [old for old in rows if [old[k] for k in ("arch", "noise", "seed")] != [arch, noise, seed]]
                rows.append(row)
                if options.json:
                    options.json.write_text(json.dumps(rows, indent=2))
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
