"""An autoencoder of the images that are to be grouped, whose codes are compared: built, trained, kept, used."""

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.autoencoder.networks import Autoencoder, ConvAutoencoder, create_autoencoder
from dltool.backbones.preprocessing import Preprocessing
from dltool.cluster.clustering import GroupingStep
from dltool.cluster.deep_training import Checkpoints, NumberTrainer, enough_epochs, learn
from dltool.cluster.settings import ClusterSettings
from dltool.cluster.small_images import DeviceImages, encode_all, fit_channels, image_pixels
from dltool.cluster.source import ClusterSource
from dltool.cluster.views import Views
from dltool.errors import ModelError
from dltool.training.context import RunContext
from dltool.training.events import Notice
from dltool.training.model_file import restored_module
from dltool.training.seeds import seeded
from dltool.training.trainer import Batch, Share

# Small sets get as many steps as 60,000 images in 20 epochs.
_STEPS = 4700
STRENGTH = 0.7


def new_autoencoder(images: DeviceImages, latent_dim: int, seed: int) -> ConvAutoencoder:
    """An untrained network (16, 32, 64 channels) for these images, on their device."""
    with seeded(seed, "autoencoder"):
        network = ConvAutoencoder(images.channels, *images.pixels.shape[2:], latent_dim=latent_dim)
    network.set_output_mean(images.means)
    return network.to(images.pixels.device)


class ViewSource:
    """Views of images by epoch: what an autoencoder sees and is to give back (Guo et al., 2018: DEC-DA)."""

    def __init__(self, images: DeviceImages, seed: int) -> None:
        self._images = images
        self._seed = seed
        self._drawn: tuple[int, Views] | None = None

    def __call__(self, indices: Tensor, epoch: int) -> Tensor:
        """N × C × H × W views of the samples at `indices`, as `epoch` has them."""
        if self._drawn is None or self._drawn[0] != epoch:
            count, channels = len(self._images), self._images.channels
            self._drawn = epoch, Views(count, channels, STRENGTH, self._seed, "codes", epoch)
        return self._drawn[1](self._images[indices], indices)


class CodesTrainer(NumberTrainer):
    """Learns to give views of the images back, by the mean squared error."""

    def __init__(self, network: ConvAutoencoder, views: ViewSource) -> None:
        self._network = network
        self._views = views

    def loss(self, batch: Batch, share: Share) -> Tensor:
        images = self._views(batch[0], share.epoch)
        return F.mse_loss(self._network(images), images) * (len(images) * share.weight)


def train_codes(
    photos: DeviceImages, settings: ClusterSettings, checkpoints: Checkpoints, should_stop: Callable[[], bool]
) -> Generator[GroupingStep | Notice, None, ConvAutoencoder | None]:
    """Train an autoencoder; None if it was stopped."""
    network = new_autoencoder(photos, settings.latent_dim, settings.seed)
    trainer = CodesTrainer(network, ViewSource(photos, settings.seed))
    count = len(photos)
    epochs = settings.epochs or enough_epochs(count, _STEPS)
    training = (trainer, "training the autoencoder", network, count, epochs, settings.seed)
    finished = yield from learn(*training, checkpoints, should_stop)
    return network if finished else None


@torch.no_grad()
def decode_centers(network: ConvAutoencoder, centers: Tensor) -> list:
    """k images, H × W × 3 uint8, of k × D codes."""
    device = next(network.parameters()).device
    images = network.decode(centers.to(device)).clamp(0, 1).mul(255).round().byte().cpu()
    return [image.expand(3, -1, -1).permute(1, 2, 0).numpy() for image in images]


def network_arguments(network: ConvAutoencoder) -> dict[str, Any]:
    """What `restore_network` builds a network again from, which was trained here."""
    channels, height, width = network.shape
    arguments = {"in_channels": channels, "height": height, "width": width}
    return {"arch": "conv", **arguments, "latent_dim": network.latent_dim}


def restore_network(arguments: Any, tensors: dict[str, Tensor], source: Path) -> Autoencoder:
    """The network of a model file, from its tensors called `network.…`.

    Raises:
        ModelError: its description or tensors are damaged.
    """
    own = {name.removeprefix("network."): tensor for name, tensor in tensors.items() if name.startswith("network.")}
    try:
        with torch.random.fork_rng(devices=[]):
            network = restored_module(partial(create_autoencoder, **arguments), arguments, own, source)
    except TypeError as error:
        raise ModelError(f"{source}: its description is damaged") from error
    assert isinstance(network, Autoencoder)
    return network.eval()


def encode_new(
    network: Autoencoder, source: ClusterSource, preprocessing: Preprocessing, context: RunContext
) -> np.ndarray:
    """N × D rows of new images, brought to the size and the channels that the network was made for.

    Raises:
        DataError: an image cannot be read.
    """
    assert source.split is not None
    channels, *shape = network.shape
    shape = (*shape,) if channels == 1 else (*shape, 3)
    images = fit_channels(image_pixels(source, preprocessing, context.workers), shape)
    network = network.to(context.device)
    return encode_all(network.encode, DeviceImages(images, context.device)).numpy()
