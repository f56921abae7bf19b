"""Pictures from a trained generator: noise from seeds, classes, truncation, walks between seeds."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dltool.gan.networks import Generator
from dltool.training.seeds import new_generator

_BATCH = 250


def latent(seeds: Sequence[int], latent_dim: int, truncation: float = 1.0) -> Tensor:
    """N × latent_dim normal noise on the CPU; every row depends on its seed alone.

    With `truncation` below 1 the rows are pulled towards the mean by that factor: typical pictures, less variety.
    """
    rows = [torch.randn(latent_dim, generator=new_generator("latent", seed)) for seed in seeds]
    return torch.stack(rows) * truncation


@torch.inference_mode()
def generate(generator: Generator, noise: Tensor, labels: Tensor | None = None) -> Tensor:
    """Draw pictures: N × channels × size × size uint8 on the CPU from N × latent_dim noise (and N classes).

    The generator must be in evaluation mode. Goes through it in batches of a fixed size.
    """
    device = next(generator.parameters()).device
    pictures = []
    for start in range(0, len(noise), _BATCH):
        part = slice(start, start + _BATCH)
        classes = None if labels is None else labels[part].to(device)
        images = generator(noise[part].to(device), classes).float()
        pictures.append(images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu())
    return torch.cat(pictures)
