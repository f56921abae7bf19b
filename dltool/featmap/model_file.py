"""The network that the settings name: a backbone, or an own model from a file that dltool wrote."""

from pathlib import Path

import torch

from dltool.backbones.preprocessing import Preprocessing
from dltool.backbones.registry import create_backbone
from dltool.featmap.network import Network, network_from_backbone, resized
from dltool.featmap.settings import NetworkSettings
from dltool.training.model_file import load_model

_ANY_SIZE = 224


def load_network(choice: NetworkSettings, device: torch.device, size: int | None = None) -> Network:
    """Build the network that is chosen, to see squares of `size` pixels; None for what its weights expect.

    Raises:
        SettingsError: no such backbone.
        ModelError: the weights or the model file cannot be used.
    """
    if choice.model is not None:
        return network_from_model(choice.model, device, size)
    return network_from_backbone(create_backbone(choice.backbone, choice.weights, choice.seed), device, size)


def network_from_model(path: Path, device: torch.device, size: int | None = None) -> Network:
    """Build the network that a model file describes, with its own weights, classes and preprocessing.

    Of a classifier, an autoencoder or a U-Net (`ae train`), and of a generator (`gan train`) without the sampling of
    its noise.

    Args:
        path: the file, or a run's folder, which stands for its best model.
        size: of the square that the network sees; None for the one that it was trained with.

    Raises:
        ModelError: missing or damaged.
    """
    command = load_model(path).command
    if command == "ae":
        return _autoencoder(path, device, size)
    if command == "gan":
        return _generator(path, device)
    from dltool.finetune.classifier_file import load_classifier

    classifier, _ = load_classifier(path)
    module = classifier.module.eval().to(device, memory_format=torch.channels_last)
    preprocessing = resized(classifier.preprocessing, size)
    return Network(path.name, module, preprocessing, classifier.class_names, device, weights=str(path))


def _autoencoder(path: Path, device: torch.device, size: int | None) -> Network:
    from dltool.autoencoder.autoencoder_file import load_autoencoder

    trained = load_autoencoder(path)
    side = size or (trained.size[0] if trained.size else _ANY_SIZE)
    return Network(
        *(path.name, trained.module.to(device), _plain(side), (), device),
        weights=str(path),
        in_channels=trained.channels,
        shape=(trained.channels, *trained.size) if trained.size else None,
        latent_dim=trained.arguments.get("latent_dim", 0),
    )


def _generator(path: Path, device: torch.device) -> Network:
    from dltool.gan.generator_file import load_generator

    spec = (generator := load_generator(path, device)).spec
    return Network(
        *(path.name, generator.module.body, _plain(max(spec.shape)), generator.class_names, device),
        weights=str(path),
        in_channels=spec.channels,
        shape=(spec.latent_dim + spec.num_classes,),
        latent_dim=spec.latent_dim,
        painted=spec.shape,
    )


def _plain(side: int) -> Preprocessing:
    """For networks that take images in [0, 1] as they are."""
    return Preprocessing(resize=side, crop=side, mean=(0.0,) * 3, std=(1.0,) * 3)
