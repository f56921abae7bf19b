"""Denoising without any trained model: a small network learns from the one noisy image itself."""

import time
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dltool.autoencoder.unet import pad_to_multiple
from dltool.denoise.denoiser import SYMMETRIES
from dltool.training.seeds import numpy_generator, seeded

_CHANNELS = 48
_LEARNING_RATE = 3e-3
_CROP = 64  # side in pixels; a step costs the same whatever the image's size
_MIN_SIDE = 8


@dataclass(frozen=True)
class LearnStep:
    """One step of learning from the image; `loss` is the mean squared error, pixels in [0, 1]."""

    step: int
    steps: int
    loss: float


def new_network(channels: int) -> nn.Sequential:
    """Estimates the noise in N × C × H × W images: two 3 × 3 convolutions of 48 channels and one of 1 × 1."""
    return nn.Sequential(
        nn.Conv2d(channels, _CHANNELS, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(_CHANNELS, _CHANNELS, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(_CHANNELS, channels, 1),
    )


def diagonal_pair(images: Tensor) -> tuple[Tensor, Tensor]:
    """Two images of half the size from N × C × H × W ones with even sides: means of either diagonal of 2 × 2 pixels.

    They show nearly the same, and where neighbouring pixels' noise is independent, so is theirs.
    """
    left_up, right_up = images[..., ::2, ::2], images[..., ::2, 1::2]
    left_down, right_down = images[..., 1::2, ::2], images[..., 1::2, 1::2]
    return (left_up + right_down) / 2, (right_up + left_down) / 2


def zero_shot_loss(network: nn.Module, images: Tensor) -> Tensor:
    """Each of the two images, denoised, shall be the other; and denoising and halving may change places.

    Mansour and Heckel, "Zero-Shot Noise2Noise: Efficient Image Denoising without any Data", 2023: symmetric residual
    loss and consistency loss.
    """
    first, second = diagonal_pair(images)
    restored_first, restored_second = first - network(first), second - network(second)
    whole_first, whole_second = diagonal_pair(images - network(images))
    residual = F.mse_loss(restored_first, second) + F.mse_loss(restored_second, first)
    consistency = F.mse_loss(restored_first, whole_first) + F.mse_loss(restored_second, whole_second)
    return (residual + consistency) / 2


def learn_network(
    image: np.ndarray, steps: int, seed: int, device: torch.device, seconds: float | None = None
) -> Generator[LearnStep, None, nn.Module]:
    """Learn to denoise one H × W × C image (floats in [0, 1]) from itself; crops of 64 px, flipped and turned.

    Args:
        steps: of Adam, the learning rate falling to zero along half a cosine.
        seconds: stop after that time, the learning rate falling with it; the result then depends on the machine.

    Yields:
        A LearnStep after every step.

    Returns:
        A network that restores N × C × H × W images in [0, 1].
    """
    channels = image.shape[2]
    source = torch.from_numpy(np.ascontiguousarray(image, np.float32)).permute(2, 0, 1).unsqueeze(0)
    source = pad_to_multiple(source, _MIN_SIDE) if min(source.shape[-2:]) < _MIN_SIDE else source
    with seeded(seed, "self"):
        network = new_network(channels).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), _LEARNING_RATE)
    started = time.monotonic()
    for step in range(steps):
        progress = step / steps
        if seconds is not None:
            progress = max(progress, (time.monotonic() - started) / seconds)
            if progress >= 1:
                break
        for group in optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * progress))
        crop = _crop(source, numpy_generator(seed, "crop", step)).to(device)
        optimizer.zero_grad(set_to_none=True)
        loss = zero_shot_loss(network, crop.contiguous(memory_format=torch.channels_last))
        loss.backward()
        optimizer.step()
        yield LearnStep(step + 1, steps, loss.item())
    return _Restorer(network)


class _Restorer(nn.Module):
    """The image without the noise that a network estimates."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return images - self.network(images)


def _crop(source: Tensor, random: np.random.Generator) -> Tensor:
    height, width = (min(side, _CROP) // 2 * 2 for side in source.shape[-2:])
    top = int(random.integers(source.shape[-2] - height + 1))
    left = int(random.integers(source.shape[-1] - width + 1))
    turn, _ = SYMMETRIES[int(random.integers(len(SYMMETRIES)))]
    return turn(source[..., top : top + height, left : left + width])
