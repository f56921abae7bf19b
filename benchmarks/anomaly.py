"""A class of digits that was held out of training, found among the others: AUROC of `ae reconstruct --anomaly`.

    python benchmarks/anomaly.py DATA [--set MNIST] [--classes 0 1 2 …] [--test 4000] [--steps 1500] [--json FILE]

DATA is the folder with MNIST/raw/*.gz. For each class a network learns the training images of the other nine
(`ae train --arch stacked`, ten numbers), and scores test images of all ten. Beside its score stand the plain squared
errors of the same network and of a PCA of as many numbers. `found` and `false` are the shares of the held-out class's
and of the other classes' test images above the threshold that the model holds. Labels are used for nothing else.
"""

import argparse
import gzip
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA

from dltool.autoencoder.anomaly import area_under_curve
from dltool.autoencoder.data import ImageData
from dltool.autoencoder.heldout import restore
from dltool.autoencoder.settings import AeSettings
from dltool.autoencoder.train import train_autoencoder
from dltool.events import finish
from dltool.training.context import RunContext

CPU = torch.device("cpu")
CODE = 10


def read_idx(path: Path) -> np.ndarray:
    """An IDX file of bytes."""
    data = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(data, ">i4", data[3], 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def write_idx(path: Path, values: np.ndarray) -> None:
    """The same as a file."""
    head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
    path.write_bytes(gzip.compress(head + values.tobytes(), 1))


def hold_out(raw: Path, folder: Path, held_out: int) -> None:
    """Copy a set without one of its classes."""
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        labels = read_idx(raw / f"{part}-labels-idx1-ubyte.gz")
        kept = labels != held_out
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels[kept])
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", read_idx(raw / f"{part}-images-idx3-ubyte.gz")[kept])


def measure(raw: Path, held_out: int, test: int, steps: int) -> dict[str, Any]:
    """AUROCs of one class."""
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        hold_out(raw, Path(folder) / raw.parent.name / "raw", held_out)
        name = {"MNIST": "mnist", "FashionMNIST": "fashion-mnist"}[raw.parent.name]
        settings = AeSettings(arch="stacked", latent_dim=CODE, steps=steps)
        result = finish(train_autoencoder(ImageData(name, root=Path(folder)), settings, RunContext(CPU)))
    assert result is not None and result.autoencoder.normal is not None  # nobody stops it, and there are images
    images = torch.from_numpy(read_idx(raw / "t10k-images-idx3-ubyte.gz")[:test].copy()).unsqueeze(1).float() / 255
    abnormal = read_idx(raw / "t10k-labels-idx1-ubyte.gz")[:test] == held_out
    normal = result.autoencoder.normal
    scores = normal.scores(images)
    errors = (restore(result.autoencoder.module, images, CPU) - images).square().flatten(1).mean(1).numpy()
    labels = read_idx(raw / "train-labels-idx1-ubyte.gz")
    known = read_idx(raw / "train-images-idx3-ubyte.gz")[labels != held_out][:10_000].reshape(-1, 784) / 255
    pca = PCA(CODE, svd_solver="randomized", random_state=0).fit(known)
    flat = images.flatten(1).numpy()
    of_pca = np.square(pca.inverse_transform(pca.transform(flat)) - flat).mean(1)
    above = scores > normal.threshold
    aurocs = {"anomaly": scores, "ae_error": errors, "pca_error": of_pca}
    row: dict[str, Any] = {name: area_under_curve(list(values), list(abnormal)) for name, values in aurocs.items()}
    row |= {"found": float(above[abnormal].mean()), "false": float(above[~abnormal].mean())}
    return {"class": held_out, **row, "cpu_seconds": time.process_time() - started}


def main() -> None:
    """Measure the classes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", default="MNIST", choices=["MNIST", "FashionMNIST"])
    parser.add_argument("--classes", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--test", type=int, default=4000)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = ("anomaly", "ae_error", "pca_error", "found", "false", "cpu_seconds")
    print(f"{'class':>5} " + " ".join(f"{name:>11}" for name in names))
    rows = []
    for held_out in options.classes:
        rows.append(measure(options.data / options.set / "raw", held_out, options.test, options.steps))
        print(f"{held_out:5} " + " ".join(f"{rows[-1][name]:11.4f}" for name in names), flush=True)
        if options.json:
            options.json.write_text(json.dumps(rows, indent=2))
    print(f"{'mean':>5} " + " ".join(f"{np.mean([row[name] for row in rows]):11.4f}" for name in names))


if __name__ == "__main__":
    main()
