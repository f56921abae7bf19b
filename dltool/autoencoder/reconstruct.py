"""What an autoencoder gives back of images, how far that is off, and what lies between two codes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dltool.autoencoder.autoencoder_file import TrainedAutoencoder
from dltool.autoencoder.batches import fit_pixels
from dltool.autoencoder.data import to_channels
from dltool.autoencoder.networks import Autoencoder
from dltool.autoencoder.noise import Mixture, Noise
from dltool.data.builtin import load_builtin
from dltool.device import memory_errors
from dltool.errors import DltoolError, SettingsError
from dltool.images.quality import psnr, ssim
from dltool.images.read import read_image
from dltool.images.stream import read_ahead
from dltool.training.seeds import derive_seed

_BATCH = 128


@dataclass(frozen=True)
class Reconstruction:
    """One image and what came back.

    Attributes:
        path: the file.
        error: why it could not be read; then nothing else is there.
        original, input, output: C × H × W in [0, 1] on the CPU: as the network's size and channels ask for, with noise
            if any was added, and what the network gave back, clipped.
        code: latent_dim numbers; None for networks without a code.
        mse, psnr, ssim: of the output against the original; PSNR in dB.
    """

    path: Path
    error: DltoolError | None = None
    original: Tensor | None = None
    input: Tensor | None = None
    output: Tensor | None = None
    code: Tensor | None = None
    mse: float = float("nan")
    psnr: float = float("nan")
    ssim: float = float("nan")


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
) -> Iterator[Reconstruction]:
    """Yield every file's reconstruction, in order; a bad file is yielded with its error and stops nothing.

    Args:
        noise: what to add to the images before the network sees them; image by image from `seed` and its number.
        read: gives a path's H × W × 3 (or H × W) uint8 pixels.

    Raises:
        DeviceError: not enough memory for one batch.
    """
    waiting: list[tuple[Path, Tensor | DltoolError]] = []
    most = _BATCH if autoencoder.size is not None else 1
    done = 0
    for path, image in read_ahead(paths, lambda path: prepare(autoencoder, read(path)), workers):
        waiting.append((path, image))
        if len(waiting) == most:
            yield from _run_batch(autoencoder, waiting, device, noise, seed, done)
            done += len(waiting)
            waiting = []
    yield from _run_batch(autoencoder, waiting, device, noise, seed, done)


def _run_batch(
    autoencoder: TrainedAutoencoder,
    batch: Sequence[tuple[Path, Tensor | DltoolError]],
    device: torch.device,
    noise: Noise | Mixture | None,
    seed: int,
    first: int,
) -> Iterator[Reconstruction]:
    originals = {index: image for index, (_, image) in enumerate(batch) if isinstance(image, Tensor)}
    results: dict[int, Reconstruction] = {}
    if originals:
        clean = torch.stack(list(originals.values()))
        inputs = clean
        if noise is not None:
            generators = [torch.Generator().manual_seed(derive_seed(seed, "noise", first + i)) for i in originals]
            inputs = torch.cat([noise(x[None], g) for x, g in zip(clean, generators, strict=True)])
        outputs, codes = _forward(autoencoder, inputs.to(device))
        figures = [((outputs - clean).square().flatten(1).mean(1)), psnr(outputs, clean), ssim(outputs, clean)]
        for row, index in enumerate(originals):
            values = [float(figure[row]) for figure in figures]
            code = None if codes is None else codes[row]
            shown = (clean[row], inputs[row].clamp(0, 1), outputs[row])
            results[index] = Reconstruction(batch[index][0], None, *shown, code, *values)
    for index, (path, image) in enumerate(batch):
        yield results[index] if index in results else Reconstruction(path, image)  # type: ignore[arg-type]


@torch.no_grad()
def _forward(autoencoder: TrainedAutoencoder, inputs: Tensor) -> tuple[Tensor, Tensor | None]:
    module = autoencoder.module.to(inputs.device).eval()
    with memory_errors("give smaller pictures, or --device cpu"):
        if not isinstance(module, Autoencoder):
            return module(inputs).float().clamp(0, 1).cpu(), None
        codes = module.encode(inputs)
        return module.decode(codes).float().clamp(0, 1).cpu(), codes.float().cpu()


def named_images(name: str, root: Path, limit: int) -> dict[Path, np.ndarray]:
    """Images of a built-in set, of its test split where it has one, by what they are called: `mnist/test/0`.

    Raises:
        DataError: the set is not there.
    """
    splits = load_builtin(name, root, download=False).splits
    split = splits.get("test", splits["train"])
    return {Path(split.name(index)): split.read(index) for index in range(min(len(split), limit or len(split)))}


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
