"""An autoencoder trained on the images that are to be grouped, whose codes are compared."""

from collections.abc import Callable, Generator

import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.autoencoder.networks import ConvAutoencoder
from dltool.cluster.clustering import Notice, Step
from dltool.cluster.deep_training import Checkpoints, Images, Lesson, enough_epochs, learn
from dltool.cluster.views import Views
from dltool.training.seeds import seeded

LR = 2e-3
# Small sets get as many steps as 60,000 images in 20 epochs.
_STEPS = 4700
STRENGTH = 0.7


def new_autoencoder(images: Images, latent_dim: int, seed: int) -> ConvAutoencoder:
    """An untrained network (16, 32, 64 channels) for these images, on their device."""
    with seeded(seed, "autoencoder"):
        network = ConvAutoencoder(images.channels, *images.pixels.shape[2:], latent_dim=latent_dim)
    network.set_output_mean(images.means)
    return network.to(images.pixels.device)


class ViewSource:
    """Views of images by epoch: what an autoencoder sees and is to give back (Guo et al., 2018: DEC-DA)."""

    def __init__(self, images: Images, seed: int) -> None:
        self._images = images
        self._seed = seed
        self._drawn: tuple[int, Views] | None = None

    def __call__(self, indices: Tensor, epoch: int) -> Tensor:
        """N × C × H × W views of the samples at `indices`, as `epoch` has them."""
        if self._drawn is None or self._drawn[0] != epoch:
            count, channels = len(self._images), self._images.channels
            self._drawn = epoch, Views(count, channels, STRENGTH, self._seed, "codes", epoch)
        return self._drawn[1](self._images[indices], indices)


def train_codes(
    photos: Images,
    latent_dim: int,
    epochs: int | None,
    seed: int,
    checkpoints: Checkpoints,
    should_stop: Callable[[], bool],
) -> Generator[Step | Notice, None, ConvAutoencoder | None]:
    """Train an autoencoder by the mean squared error; None if it was stopped."""
    network = new_autoencoder(photos, latent_dim, seed)
    views = ViewSource(photos, seed)

    def loss(indices: Tensor, done: float) -> Tensor:
        images = views(indices, int(done))
        return F.mse_loss(network(images), images)

    count = len(photos)
    lesson = Lesson("training the autoencoder", network, count, epochs or enough_epochs(count, _STEPS), LR, loss)
    finished = yield from learn(lesson, seed, checkpoints, should_stop)
    return network if finished else None


@torch.no_grad()
def decode_centers(network: ConvAutoencoder, centers: Tensor) -> list:
    """k images, H × W × 3 uint8, of k × D codes."""
    device = next(network.parameters()).device
    images = network.decode(centers.to(device)).clamp(0, 1).mul(255).round().byte().cpu()
    return [image.expand(3, -1, -1).permute(1, 2, 0).numpy() for image in images]
