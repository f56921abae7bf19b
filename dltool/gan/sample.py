"""Images from a trained generator: noise from seeds, classes, truncation, walks between seeds."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dltool.errors import SettingsError, did_you_mean
from dltool.gan.generator_file import TrainedGenerator
from dltool.gan.networks import Generator
from dltool.training.seeds import new_generator

_BATCH = 64


def latent(seeds: Sequence[int], latent_dim: int, truncation: float = 1.0) -> Tensor:
    """N × latent_dim normal noise on the CPU; every row depends on its seed alone.

    With `truncation` below 1 the rows are pulled towards the mean by that factor: typical images, less variety.
    """
    rows = [torch.randn(latent_dim, generator=new_generator("latent", seed)) for seed in seeds]
    return torch.stack(rows) * truncation


@torch.inference_mode()
def generate(generator: Generator, noise: Tensor, labels: Tensor | None = None) -> Tensor:
    """Draw images: N × channels × height × width uint8 on the CPU from N × latent_dim noise (and N classes).

    The generator must be in evaluation mode. It always works on as many at once, so that an image does not depend on
    those drawn beside it.
    """
    device = next(generator.parameters()).device
    photos = []
    for start in range(0, len(noise), _BATCH):
        part = noise[start : start + _BATCH]
        count = len(part)
        filled = torch.cat([part, part.new_zeros(_BATCH - count, noise.shape[1])]).to(device)
        classes = None
        if labels is not None:
            own = labels[start : start + _BATCH]
            classes = torch.cat([own, own.new_zeros(_BATCH - count)]).to(device)
        images = generator(filled, classes)[:count].float()
        photos.append(images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu())
    return torch.cat(photos)


def walk(stops: Tensor, frames: int) -> Tensor:
    """Go from each of N × latent_dim points to the next, and from the last back to the first, in `frames` steps in all.

    The way between two points keeps their length: spherical interpolation (White, 2016), as noise of many dimensions
    lies near a sphere, and what lies within it the generator has never seen. Returns frames × latent_dim.
    """
    places = torch.arange(frames, dtype=torch.float64) * len(stops) / frames
    starts = places.floor().long().clamp_max(len(stops) - 1)
    share = (places - starts).to(stops.dtype)[:, None]
    first, second = stops[starts], stops[(starts + 1) % len(stops)]
    lengths = first.norm(dim=1, keepdim=True), second.norm(dim=1, keepdim=True)
    cosine = (first * second).sum(1, keepdim=True) / (lengths[0] * lengths[1]).clamp_min(1e-12)
    angle = cosine.clamp(-1, 1).acos()
    near = angle < 1e-4  # equal directions: the straight way
    sine = angle.sin().masked_fill(near, 1.0)
    weights = ((1 - share) * angle).sin() / sine, (share * angle).sin() / sine
    return torch.where(near, torch.lerp(first, second, share), weights[0] * first + weights[1] * second)


def class_labels(generator: TrainedGenerator, names: Sequence[str], seeds: Sequence[int]) -> Tensor | None:
    """A class for each of N seeds: those named in turn; None for a generator without classes.

    Where none is named the seed decides (seed 15 of ten classes is of the sixth), so that it alone gives the image.

    Raises:
        SettingsError: no such class, or the generator knows none.
    """
    known = generator.class_names
    if not known:
        if names:
            raise SettingsError(f"--class {names[0]}: this model knows no classes; train with --conditional")
        return None
    for name in names:
        if name not in known:
            near = did_you_mean(name, known)
            raise SettingsError(f"--class {name}: no such class{near}; the model knows {_some(known)}")
    if not names:
        return torch.tensor([seed % len(known) for seed in seeds])
    chosen = [known.index(name) for name in names]
    return torch.tensor([chosen[index % len(chosen)] for index in range(len(seeds))])


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
