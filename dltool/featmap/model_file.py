"""Own models: from a file that `dltool finetune` wrote to a network to look into."""

from pathlib import Path

import torch

from dltool.featmap.network import Network, resized


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
