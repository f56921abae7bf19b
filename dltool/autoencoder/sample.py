"""New images from a variational autoencoder: its decoder in the place of a GAN's generator, drawn from as one."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dltool.autoencoder.autoencoder_file import load_autoencoder
from dltool.autoencoder.codes import CHOOSING
from dltool.autoencoder.networks import Autoencoder
from dltool.errors import ModelError
from dltool.gan.generator_file import TrainedGenerator


@dataclass(frozen=True)
class CodeSpec:
    """What drawing has to know of a decoder: how many normal numbers a code is made of."""

    latent_dim: int


class DecoderGenerator(nn.Module):
    """N × latent_dim codes to N × C × H × W images in [-1, 1], as generators give them."""

    def __init__(self, autoencoder: Autoencoder, numbers: int) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.spec = CodeSpec(numbers)

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Decode codes; there are no classes."""
        return self.autoencoder.decode(noise) * 2 - 1


def load_decoder(path: Path | str, device: torch.device | str = "cpu") -> TrainedGenerator:
    """Read an autoencoder that `dltool ae train --variational` wrote, as a generator.

    Raises:
        ModelError: missing, damaged, or not variational: what its decoder makes of normal noise is nothing.
    """
    trained = load_autoencoder(path)
    if not isinstance(trained.module, Autoencoder) or not trained.module.variational:
        raise ModelError(
            f"{path}: not a variational autoencoder, so there is nothing to draw from; "
            "train with ae train --variational"
        )
    numbers = trained.module.latent_dim + (0 if trained.codes is None else CHOOSING)
    module = DecoderGenerator(trained.module, numbers).to(device).eval()
    place = {} if trained.codes is None else {"place": trained.codes.place}
    return TrainedGenerator(module, (), trained.metrics, trained.settings, **place)  # type: ignore[arg-type]
