"""Features of an autoencoder: codes of one that is trained on the very images, or of a given one."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dltool.autoencoder.autoencoder_file import TrainedAutoencoder, load_autoencoder
from dltool.autoencoder.networks import Autoencoder, ConvAutoencoder, create_autoencoder
from dltool.backbones.preprocessing import Preprocessing
from dltool.cluster.autoencoder_training import train_codes
from dltool.cluster.clustering import Notice, Step
from dltool.cluster.deep_training import Checkpoints, Images, encode_all
from dltool.cluster.features import Embedder, fit_channels, image_pixels, pixel_embedder
from dltool.cluster.settings import AUTOENCODER, ClusterSettings
from dltool.cluster.source import Source
from dltool.errors import DataError, ModelError
from dltool.training.model_file import restore_module


def is_learned(features: str) -> bool:
    """Whether these features need a network of their own."""
    return features.partition(":")[0] == AUTOENCODER


def learn_features(
    features: str,
    settings: ClusterSettings,
    source: Source,
    device: torch.device,
    workers: int,
    folder: Path | None,
    resume: bool,
    should_stop: Callable[[], bool],
) -> Generator[Step | Notice, None, tuple[Embedder, np.ndarray] | None]:
    """Train a network on the source's images, or read a trained one; return the embedder and N × D rows.

    None if it was stopped.

    Raises:
        DataError: an image cannot be read, or too few to learn from.
        ModelError: `ae:MODEL`, and MODEL is no autoencoder with codes.
        SettingsError: `resume`, and settings differ.
    """
    assert source.split is not None
    kind, _, given = features.partition(":")
    trained = _load_given(given) if given else None
    embedder = pixel_embedder(settings, source, None if trained is None else trained.size)
    images = fit_channels(image_pixels(source.split, embedder.preprocessing, workers), embedder.shape)
    grey = images.ndim == 4 and (images == images[..., :1]).all()
    if grey if trained is None else trained.channels == 1:
        images = fit_channels(images, images.shape[1:3])
    photos = Images(images, device)
    if trained is not None:
        network: Autoencoder | None = trained.module
        arguments = {"arch": trained.arch, **trained.arguments}
    else:
        if len(photos) < 2:
            raise DataError(f"--features {features}: one picture is too little to learn from")
        checkpoints = Checkpoints(folder, settings, images, resume)
        network = yield from train_codes(
            photos, settings.latent_dim, settings.epochs, settings.seed, checkpoints, should_stop
        )
        if network is None:
            return None
        arguments = network_arguments(network)
    network = network.to(device).eval()
    embedder = Embedder(kind, network, embedder.preprocessing, images.shape[1:], arguments)
    return embedder, encode_all(network.encode, photos).numpy()


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
    try:
        with torch.random.fork_rng(devices=[]):
            network = create_autoencoder(**arguments)
    except TypeError as error:
        raise ModelError(f"{source}: its description is damaged") from error
    own = {name.removeprefix("network."): tensor for name, tensor in tensors.items() if name.startswith("network.")}
    restore_module(network, own, source)
    assert isinstance(network, Autoencoder)
    return network.eval()


def encode_new(
    network: Autoencoder,
    source: Source,
    preprocessing: Preprocessing,
    device: torch.device,
    workers: int,
) -> np.ndarray:
    """N × D rows of new images, brought to the size and the channels that the network was made for.

    Raises:
        DataError: an image cannot be read.
    """
    assert source.split is not None
    channels, *shape = network.shape
    shape = (*shape,) if channels == 1 else (*shape, 3)
    images = fit_channels(image_pixels(source.split, preprocessing, workers), shape)
    return encode_all(network.encode, Images(images, device)).numpy()


def _load_given(path: str) -> TrainedAutoencoder:
    trained = load_autoencoder(path)
    if not isinstance(trained.module, Autoencoder):
        raise ModelError(f"--features ae:{path}: {trained.arch} has no codes; train one with --arch conv")
    return trained
