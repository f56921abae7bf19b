"""How well held-out pictures come back: loss, PSNR and SSIM at named strengths of the noise."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dltool.autoencoder.data import Pictures, to_channels
from dltool.autoencoder.noise import Mixture, Noise
from dltool.images.quality import psnr, ssim
from dltool.training.seeds import derive_seed

_BATCH = 500
MOST_CROPS = 8
_CROP = 192


@dataclass(frozen=True)
class HeldOut:
    """Clean pictures, each group of one size N × C × H × W uint8, and the noise they are measured with."""

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
        [0, 1] for PSNR and SSIM, which are means over the pictures; `structure` False leaves SSIM out.
        """
        model.eval()
        tests: dict[str, Noise | None] = dict(self.noise.tests()) if self.noise else {"clean": None}
        rows: dict[str, dict[str, Any]] = {}
        losses, errors = 0.0, 0.0
        for name, noise in tests.items():
            generator = torch.Generator(device).manual_seed(derive_seed(self.seed, "held out", name))
            sums = torch.zeros(5, dtype=torch.float64, device=device)
            for images in self.batches():
                clean = images.to(device).float().div_(255)
                noisy = noise(clean, generator) if noise else clean
                restored = model(noisy).float()
                shown = restored.clamp(0, 1)
                sums[0] += loss(restored, clean).double() * len(clean)
                sums[1] += (restored - clean).square().mean().double() * len(clean)
                sums[2] += psnr(shown, clean).clamp(max=100).sum()
                sums[3] += ssim(shown, clean).sum() if structure else 0.0
                sums[4] += psnr(noisy, clean).clamp(max=100).sum()
            values = (sums / len(self)).tolist()
            losses, errors = losses + values[0] / len(tests), errors + values[1] / len(tests)
            row: dict[str, Any] = {"mse": values[1], "psnr": values[2]}
            if structure:
                row["ssim"] = values[3]
            if noise:
                row = {"level": noise.low, **row, "noisy_psnr": values[4]}
            rows[name] = row
        return {"loss": losses, "mse": errors, "pictures": len(self), "levels": rows}

    def batches(self) -> list[Tensor]:
        """All pictures in batches of one size."""
        return [batch for group in self.groups for batch in group.split(_BATCH)]


def crops_of(pictures: Pictures, channels: int, count: int = MOST_CROPS, side: int = _CROP) -> tuple[Tensor, ...]:
    """The middles of `count` pictures, at most `side` pixels wide and high, so that measuring costs little."""
    step = max(1, len(pictures) // count)
    crops = []
    for index in range(0, len(pictures), step)[:count]:
        pixels = pictures.pixels(index)
        top, left = (max(0, (length - side) // 2) for length in pixels.shape[:2])
        crops.append(to_channels(pixels[top : top + side, left : left + side], channels))
    sizes = sorted({tuple(crop.shape) for crop in crops})
    return tuple(torch.stack([crop for crop in crops if tuple(crop.shape) == size]) for size in sizes)
