"""The network that the settings name: a backbone, or an own model from a file that `dltool finetune` wrote."""

from pathlib import Path

import torch

from dltool.backbones.registry import create_backbone
from dltool.featmap.network import Network, network_from_backbone, resized
from dltool.featmap.settings import NetworkSettings


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

    Args:
        path: the file, or a run's folder, which stands for its best model.
        size: of the square that the network sees; None for the one that it was trained with.

    Raises:
        ModelError: missing, damaged, or no classifier.
    """
    from dltool.finetune.classifier_file import load_classifier

    classifier, _ = load_classifier(path)
    module = classifier.module.eval().to(device, memory_format=torch.channels_last)
    preprocessing = resized(classifier.preprocessing, size)
    return Network(path.name, module, preprocessing, classifier.class_names, device, weights=str(path))
