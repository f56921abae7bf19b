"""Features that tell pictures apart, but not the views of one: a small network trained on the pictures themselves."""

import math
from collections.abc import Callable, Generator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dltool.cluster.learner import Checkpoints, Lesson, Pictures, enough_epochs, learn
from dltool.cluster.method import Notice, Step
from dltool.cluster.views import Views
from dltool.training.seeds import seeded

TEMPERATURE = 0.2
STRENGTH = 1.2
_STEPS = 1200
_LR = 4e-3
_SMALLEST = 8


class ContrastiveEncoder(nn.Module):
    """3 × 3 convolutions with batch norms, halving until a side is below 8 or so, then one layer to a unit vector."""

    def __init__(self, in_channels: int, height: int, width: int, dimensions: int = 64) -> None:
        super().__init__()
        self.shape = (in_channels, height, width)
        self.dimensions = dimensions
        halvings = max(1, math.ceil(math.log2(max(height, width) / _SMALLEST)))
        widths = [in_channels, *(min(64, 16 * 2**level) for level in range(halvings + 1))]
        layers: list[nn.Module] = []
        for level, (narrow, wide) in enumerate(pairwise(widths)):
            stride = 2 if level < halvings else 1
            layers += [nn.Conv2d(narrow, wide, 3, stride, 1), nn.BatchNorm2d(wide), nn.ReLU()]
            if stride == 2:
                height, width = -(-height // 2), -(-width // 2)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * height * width, dimensions))

    def forward(self, images: Tensor) -> Tensor:
        """N × C × H × W pictures in [0, 1] to N × dimensions rows of length 1."""
        return F.normalize(self.layers(images))


def contrastive_loss(first: Tensor, second: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """InfoNCE over both halves of a batch (NT-Xent; Chen et al., "A simple framework …", SimCLR, 2020).

    Each row has to find its other view among the 2N - 1 other rows by the cosine.

    Args:
        first, second: N × D rows of length 1, views of the same N pictures.
    """
    rows = torch.cat([first, second])
    cosines = rows @ rows.T / temperature
    cosines.fill_diagonal_(-torch.inf)
    partner = torch.arange(len(rows), device=rows.device).roll(len(first))
    return F.cross_entropy(cosines, partner)


def train_contrastive(
    pictures: Pictures, epochs: int | None, seed: int, checkpoints: Checkpoints, should_stop: Callable[[], bool]
) -> Generator[Step | Notice, None, ContrastiveEncoder | None]:
    """Train an encoder on the pictures; None if it was stopped.

    Args:
        epochs: None takes what makes about 1,200 steps.
    """
    with seeded(seed, "contrastive"):
        encoder = ContrastiveEncoder(pictures.channels, *pictures.pixels.shape[2:])
    encoder.to(pictures.pixels.device)
    views: list[Views] = []

    def draw(epoch: int) -> None:
        views[:] = [
            Views(len(pictures), pictures.channels, STRENGTH, seed, "views", epoch, side)
            for side in ("first", "second")
        ]

    def loss(indices: Tensor, done: float) -> Tensor:
        if not views:
            draw(int(done))
        images = pictures[indices]
        rows = encoder(torch.cat([view(images, indices) for view in views]))
        return contrastive_loss(*rows.chunk(2))

    count = len(pictures)
    lesson = Lesson(
        "learning features", encoder, count, epochs or enough_epochs(count, _STEPS), _LR, loss, before_epoch=draw
    )
    finished = yield from learn(lesson, seed, checkpoints, should_stop)
    return encoder if finished else None
