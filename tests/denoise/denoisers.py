"""Small denoisers for the tests: a network that needs no training, and files with noisy images."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from dltool.autoencoder.networks import create_autoencoder
from dltool.denoise.denoiser import Denoiser
from dltool.training.model_file import ModelFile, save_model

CPU = torch.device("cpu")


class Smooth(nn.Module):
    """The mean of 3 × 3 pixels, for any number of channels."""

    def forward(self, images: Tensor) -> Tensor:
        padded = nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
        return nn.functional.avg_pool2d(padded, 3, stride=1)


def smooth_denoiser(in_channels: int = 3, ensemble: bool = False) -> Denoiser:
    """A denoiser that takes means of 3 × 3 pixels."""
    return Denoiser(Smooth(), in_channels, CPU, ensemble=ensemble)


def save_smoother(path: Path, in_channels: int = 3, share: float = 1.0) -> Path:
    """Write a model file as `dltool ae train --arch unet` does, whose network goes `share` of the way to 3 × 3 means.

    One level without blocks, whose features are those of the head twice: the head gives half of each channel, the tail
    takes what differs from the mean.
    """
    arguments = {"in_channels": in_channels, "channels": [in_channels], "blocks": 0}
    network = create_autoencoder("unet", **arguments)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        for channel in range(in_channels):
            network.head.weight[channel, channel, 1, 1] = 0.5
            network.tail.weight[channel, channel] = -1 / 9
            network.tail.weight[channel, channel, 1, 1] += 1
        network.tail.weight.mul_(share)
    save_model(path, ModelFile("ae", "unet", arguments, dict(network.state_dict())))
    return path


def noisy_pixels(clean: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    """Add white noise to uint8 pixels, rounded and clipped as a file would hold them."""
    noise = np.random.default_rng(seed).normal(0, sigma, clean.shape)
    return (clean + noise).round().clip(0, 255).astype(np.uint8)


def photo_pixels(sample_images: Path, side: int = 96) -> np.ndarray:
    """A square of the sample cat, H × W × 3 uint8."""
    return np.asarray(Image.open(sample_images / "photos" / "cat.jpg").convert("RGB"))[
        100 : 100 + side, 150 : 150 + side
    ]
