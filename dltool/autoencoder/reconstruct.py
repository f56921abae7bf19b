"""What an autoencoder gives back of images, how far that is off, and what lies between two codes."""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dltool.autoencoder.anomaly import NormalImages
from dltool.autoencoder.autoencoder_file import TrainedAutoencoder
from dltool.autoencoder.data import to_channels
from dltool.autoencoder.networks import Autoencoder
from dltool.autoencoder.noise import Noise
from dltool.autoencoder.noise_laws import Mixture
from dltool.data.builtin import load_builtin
from dltool.errors import SettingsError
from dltool.images.batch import FileDone, Finish, OpenedFile, run_batch
from dltool.images.folder import Job
from dltool.images.quality import psnr, ssim
from dltool.images.read import read_image
from dltool.images.tensors import fit_pixels
from dltool.training.seeds import derive_seed

_BATCH = 128


@dataclass(frozen=True)
class Reconstruction:
    """One image and what came back.

    Attributes:
        path: the file.
        original, input, output: C × H × W in [0, 1] on the CPU: as the network's size and channels ask for, with noise
            if any was added, and what the network gave back, clipped. None where nobody needs them any more.
        code: latent_dim numbers; None for networks without a code.
        mse, psnr, ssim: of the output against the original; PSNR in dB.
        score, anomaly: how unlike the images of training it is, and whether that is above the model's threshold.
        heat: H × W in [0, 1], where it differs from what came back. All three None where nobody asked.
    """

    path: Path
    original: Tensor | None
    input: Tensor | None
    output: Tensor | None
    code: Tensor | None
    mse: float
    psnr: float
    ssim: float
    score: float | None = None
    anomaly: bool | None = None
    heat: np.ndarray | None = None


def prepare(autoencoder: TrainedAutoencoder, pixels: np.ndarray) -> Tensor:
    """H × W × 3 uint8 pixels as the network takes them: cut to its shape, scaled, C × H × W in [0, 1]."""
    if autoencoder.size is not None:
        pixels = fit_pixels(pixels, autoencoder.size)
    return to_channels(pixels, autoencoder.channels).float() / 255


def reconstruct_files(
    autoencoder: TrainedAutoencoder,
    paths: Sequence[Path],
    device: torch.device,
    workers: int = 2,
    noise: Noise | Mixture | None = None,
    seed: int = 0,
    read: Callable[[Path], np.ndarray] = lambda path: read_image(path).pixels,
    anomaly: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[FileDone]:
    """Yield every file's end, as `run_batch` does, in order; its result is the Reconstruction.

    Args:
        noise: what to add to the images before the network sees them; image by image from `seed` and its number.
        anomaly: score the images, by what the model knows of normal ones.
        read: gives a path's H × W × 3 (or H × W) uint8 pixels.
        should_stop: asked after every few images; when it says so, the rest is left.
    """
    most = _BATCH if autoencoder.size is not None else 1
    yield from run_batch(
        [Job(path) for path in paths],
        lambda job: prepare(autoencoder, read(job.input)),
        partial(_reconstruct, autoencoder, device, noise, seed, autoencoder.normal if anomaly else None),
        workers,
        "give smaller pictures, or --device cpu",
        lambda file: ((file.number - 1) // most, most),
        ahead=most,
        should_stop=should_stop,
    )


def _reconstruct(
    autoencoder: TrainedAutoencoder,
    device: torch.device,
    noise: Noise | Mixture | None,
    seed: int,
    normal: NormalImages | None,
    files: Sequence[OpenedFile[Tensor]],
) -> Generator[Any, None, list[Finish]]:
    clean = torch.stack([file.content for file in files])
    inputs = clean
    if noise is not None:
        generators = [torch.Generator().manual_seed(derive_seed(seed, "noise", file.number - 1)) for file in files]
        inputs = torch.cat([noise(x[None], g) for x, g in zip(clean, generators, strict=True)])
    outputs, codes = _forward(autoencoder, inputs.to(device))
    figures = [((outputs - clean).square().flatten(1).mean(1)), psnr(outputs, clean), ssim(outputs, clean)]
    scores = () if normal is None else normal.scores(clean)
    results = []
    for row, file in enumerate(files):
        code = None if codes is None else codes[row]
        shown = (clean[row], inputs[row].clamp(0, 1), outputs[row])
        result = Reconstruction(file.job.input, *shown, code, *(float(figure[row]) for figure in figures))
        if normal is not None:
            score, heat = float(scores[row]), normal.heat(clean[row], outputs[row])
            result = replace(result, score=score, anomaly=score > normal.threshold, heat=heat)
        results.append(result)
    yield from ()  # there is nothing to tell on the way
    return [lambda result=result: result for result in results]


@torch.no_grad()
def _forward(autoencoder: TrainedAutoencoder, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
    module = autoencoder.module.to(inputs.device).eval()
    if not isinstance(module, Autoencoder):
        return module(inputs).float().clamp(0, 1).cpu(), None
    codes = module.encode(inputs)
    return module.decode(codes).float().clamp(0, 1).cpu(), codes.float().cpu()


def named_images(name: str, root: Path, limit: int) -> tuple[dict[Path, np.ndarray], dict[Path, str]]:
    """Images of a built-in set, of its test split where it has one, and their classes, by name: `mnist/test/0`.

    Raises:
        DataError: the set is not there.
    """
    dataset = load_builtin(name, root, download=False)
    split = dataset.splits.get("test", dataset.splits["train"])
    paths = {Path(split.name(index)): index for index in range(min(len(split), limit or len(split)))}
    classes = {path: dataset.class_names[split.labels[index]] for path, index in paths.items()}
    return {path: split.read(index) for path, index in paths.items()}, classes


@torch.no_grad()
def interpolate(autoencoder: TrainedAutoencoder, first: Tensor, second: Tensor, frames: int) -> Tensor:
    """Decode evenly spaced codes on the line between those of two images.

    Args:
        first, second: C × H × W in [0, 1], from `prepare`.

    Returns:
        frames × C × H × W in [0, 1] on the CPU.

    Raises:
        SettingsError: the network has no code.
    """
    module = autoencoder.module
    if not isinstance(module, Autoencoder):
        raise SettingsError(f"--interpolate: {autoencoder.arch} has no code to walk through; use conv or stacked")
    device = next(module.parameters()).device
    ends = module.encode(torch.stack([first, second]).to(device))
    weights = torch.linspace(0, 1, frames, device=device)[:, None]
    return module.decode(torch.lerp(ends[:1], ends[1:], weights)).float().cpu()
