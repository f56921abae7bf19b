"""How well held-out images come back: loss, PSNR and SSIM at named strengths of the noise."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dltool.autoencoder.data import Images, to_channels
from dltool.autoencoder.noise import Noise
from dltool.autoencoder.noise_laws import Mixture
from dltool.images.quality import psnr, ssim
from dltool.training.seeds import derive_seed

_BATCH = 500
MOST_CROPS = 8
_CROP = 192


@dataclass(frozen=True)
class HeldOut:
    """Clean images, each group of one size N × C × H × W uint8, and the noise they are measured with."""

    groups: tuple[Tensor, ...]
    noise: Noise | Mixture | None
    seed: int

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups)

    @torch.no_grad()
    def measure(
        self, model: nn.Module, device: torch.device, loss: Callable[[Tensor, Tensor], Tensor], structure: bool = True
    ) -> dict[str, Any]:
        """Mean loss and squared error over all strengths, and PSNR and SSIM by strength.

        What goes in is the same every time: noise from the seed, in float and not clipped. What comes out is clipped to
        [0, 1] for PSNR and SSIM, which are means over the images; `structure` False leaves SSIM out.
        """
        model.eval()
        tests: dict[str, Noise | None] = dict(self.noise.tests()) if self.noise else {"clean": None}
        rows: dict[str, dict[str, Any]] = {}
        losses, errors = 0.0, 0.0
        for name, noise in tests.items():
            generator = torch.Generator(device).manual_seed(derive_seed(self.seed, "held out", name))
            sums = np.zeros(5)
            for images in self.batches():
                clean = images.to(device).float().div_(255)
                noisy = noise(clean, generator) if noise else clean
                restored = model(noisy).float()
                shown = restored.clamp(0, 1)
                sums[0] += float(loss(restored, clean)) * len(clean)
                sums[1] += float(F.mse_loss(restored, clean)) * len(clean)
                sums[2] += float(psnr(shown, clean).clamp(max=100).sum())
                sums[3] += float(ssim(shown, clean).sum()) if structure else 0.0
                sums[4] += float(psnr(noisy, clean).clamp(max=100).sum())
            values = (sums / len(self)).tolist()
            losses, errors = losses + values[0] / len(tests), errors + values[1] / len(tests)
            row: dict[str, Any] = {"mse": values[1], "psnr": values[2]}
            if structure:
                row["ssim"] = values[3]
            if noise:
                row = {"level": noise.low, **row, "noisy_psnr": values[4]}
            rows[name] = row
        return {"loss": losses, "mse": errors, "pictures": len(self), "levels": rows}

    @torch.no_grad()
    def examples(self, model: nn.Module, device: torch.device, count: int) -> tuple[str, Tensor, Tensor, Tensor]:
        """The first images of the first group as clean, noisy and restored, and the name of the noise.

        Of several strengths the middle one is shown. All are N × C × H × W in [0, 1] on the CPU.
        """
        model.eval()
        tests = list(self.noise.tests().items()) if self.noise else [("clean", None)]
        name, noise = tests[(len(tests) - 1) // 2]
        generator = torch.Generator(device).manual_seed(derive_seed(self.seed, "examples", name))
        clean = self.groups[0][:count].to(device).float().div_(255)
        noisy = noise(clean, generator) if noise else clean
        shown = (clean, noisy, model(noisy).float())
        return name, *(images.clamp(0, 1).cpu() for images in shown)  # type: ignore[return-value]

    def batches(self) -> list[Tensor]:
        """All images in batches of one size."""
        return [batch for group in self.groups for batch in group.split(_BATCH)]


@torch.no_grad()
def restore(model: nn.Module, images: Tensor, device: torch.device) -> Tensor:
    """What a network, put into evaluation mode, gives back of N × C × H × W images in [0, 1], clipped, on the CPU."""
    model.eval()
    return torch.cat([model(part.to(device)).float().clamp(0, 1).cpu() for part in images.split(_BATCH)])


def crops_of(images: Images, channels: int, count: int = MOST_CROPS, side: int = _CROP) -> tuple[Tensor, ...]:
    """The middles of `count` images, at most `side` pixels wide and high, so that measuring costs little."""
    step = max(1, len(images) // count)
    crops = []
    for index in range(0, len(images), step)[:count]:
        pixels = images.pixels(index)
        top, left = (max(0, (length - side) // 2) for length in pixels.shape[:2])
        crops.append(to_channels(pixels[top : top + side, left : left + side], channels))
    sizes = sorted({tuple(crop.shape) for crop in crops})
    return tuple(torch.stack([crop for crop in crops if tuple(crop.shape) == size]) for size in sizes)
