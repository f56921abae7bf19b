"""The GAN loop that tutorials show, for the benchmarks: what `dltool gan train` is measured against.

FashionMNIST through torchvision's data set with `ToTensor` and the default DataLoader, the networks given, a sigmoid
and binary cross-entropy, Adam 2e-4 with its default betas, discriminator and generator stepped in turn on batches of
the same size in float32.
"""

import gzip
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, transforms


@dataclass
class TextbookLoop:
    """Both networks and what trains them; `seconds` and `images` are of the steps so far."""

    generator: nn.Module
    discriminator: nn.Module
    data: Dataset
    batch_size: int
    latent_dim: int
    device: torch.device
    seconds: float = 0.0
    images: int = 0

    def __post_init__(self) -> None:
        self.generator.to(self.device).train()
        self.discriminator.to(self.device).train()
        self.loss = nn.BCELoss()
        self.of_generator = torch.optim.Adam(self.generator.parameters(), lr=2e-4)
        self.of_discriminator = torch.optim.Adam(self.discriminator.parameters(), lr=2e-4)

    def train(self, seconds: float) -> None:
        """Go through the data again and again until the time is used up."""
        started = time.perf_counter()
        for images in self.batches():
            self.step(images)
            self.images += len(images)
            if time.perf_counter() - started >= seconds:
                break
        self.seconds += time.perf_counter() - started

    def batches(self) -> Iterator[Tensor]:
        """The data again and again, in [-1, 1] because the generator ends in tanh."""
        loader = DataLoader(self.data, batch_size=self.batch_size, shuffle=True)
        while True:
            for images, _ in loader:
                yield images.to(self.device) * 2 - 1

    def step(self, real: Tensor) -> None:
        """One step of the discriminator, one of the generator."""
        ones = torch.ones(len(real), device=self.device)
        zeros = torch.zeros(len(real), device=self.device)
        noise = torch.randn(len(real), self.latent_dim, device=self.device)
        self.of_discriminator.zero_grad()
        of_real = self.loss(torch.sigmoid(self.discriminator(real)), ones)
        of_fake = self.loss(torch.sigmoid(self.discriminator(self.generator(noise).detach())), zeros)
        (of_real + of_fake).backward()
        self.of_discriminator.step()
        noise = torch.randn(len(real), self.latent_dim, device=self.device)
        self.of_generator.zero_grad()
        self.loss(torch.sigmoid(self.discriminator(self.generator(noise))), ones).backward()
        self.of_generator.step()


@contextmanager
def textbook_fashion(root: Path) -> Iterator[Dataset]:
    """torchvision's FashionMNIST training images from `root/FashionMNIST/raw`, whose files may be gzipped."""
    with TemporaryDirectory() as folder:
        raw = Path(folder) / "FashionMNIST" / "raw"
        raw.mkdir(parents=True)
        for file in (root / "FashionMNIST" / "raw").iterdir():
            if file.suffix == ".gz":
                with gzip.open(file) as source, (raw / file.stem).open("wb") as target:
                    shutil.copyfileobj(source, target)
            else:
                shutil.copy(file, raw)
        yield datasets.FashionMNIST(folder, train=True, transform=transforms.ToTensor())
