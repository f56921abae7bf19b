"""Two small networks for images of about 28 × 28 pixels, trained from scratch."""

import torch
from torch import Tensor, nn


class SmallBody(nn.Sequential):
    """Layers on N × C × H × W; three equal channels of a grey image are accepted where one is expected."""

    def __init__(self, in_channels: int, *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.in_channels = in_channels

    def forward(self, images: Tensor) -> Tensor:
        if self.in_channels == 1 and images.shape[1] == 3:
            images = images[:, :1]
        return super().forward(images)


def small_body(name: str, in_channels: int, image_size: int) -> tuple[SmallBody, int]:
    """Return the layers before the last one, and how many features they give.

    `mlp` is 784-256-128 with dropout 0.25 for 28 × 28; `cnn` two blocks of convolution (32 and 64 channels), batch
    norm, ReLU and pooling, then 600-120 with dropout 0.25.
    """
    if name == "mlp":
        inputs = in_channels * image_size**2
        layers = [nn.Flatten(), nn.Linear(inputs, 256), nn.ReLU(), nn.Dropout(0.25)]
        return SmallBody(in_channels, *layers, nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.25)), 128
    blocks = nn.Sequential(
        *(nn.Conv2d(in_channels, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Flatten(),
    )
    inputs = 64 * (image_size // 4) ** 2
    dense = [nn.Linear(inputs, 600), nn.ReLU(), nn.Dropout(0.25), nn.Linear(600, 120), nn.ReLU()]
    return SmallBody(in_channels, *blocks, *dense), 120


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of N × C × H × W uint8 images in [0, 1], three numbers each (grey: thrice)."""
    flat = images.transpose(0, 1).flatten(1).to(torch.float64) / 255
    mean, std = flat.mean(1), flat.std(1, correction=0).clamp_min(1e-3)
    repeat = 3 if len(mean) == 1 else 1
    return tuple(round(v, 6) for v in mean.tolist() * repeat), tuple(round(v, 6) for v in std.tolist() * repeat)
