"""The model file of a grouping: how items become rows, and the centres."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from dltool.cluster.distances import Rows, find_nearest
from dltool.cluster.features import embedder_tensors
from dltool.cluster.grouping import Grouped
from dltool.training.model_file import ModelFile, save_model

COMMAND = "cluster"
# Architectures whose new items are embedded as the grouped ones were.
FROM_FEATURES = ("kmeans", "manifold")


def model_agreement(rows: Rows, labels: np.ndarray, centers: Tensor) -> float:
    """Share of the grouped items that the model, if they were new, would put where they are."""
    nearest = find_nearest(rows, centers, centers.mean(0))
    return float((nearest.labels.numpy() == labels).mean())


def write_model(path: Path, grouped: Grouped, metrics: dict[str, Any], settings: dict[str, Any]) -> None:
    """Write everything that assigning new items needs.

    Raises:
        DltoolError: the file cannot be written.
    """
    clustering, embedder = grouped.clustering, grouped.embedder
    arguments: dict[str, Any] = {"k": len(clustering.centers), **clustering.arguments}
    tensors = {"centers": clustering.centers, **clustering.tensors}
    if clustering.architecture in FROM_FEATURES:
        arguments |= embedder.arguments | {"normalize": grouped.transform.normalize}
        tensors |= {**grouped.transform.tensors(), **embedder_tensors(embedder)}
    file = ModelFile(
        command=COMMAND,
        architecture=clustering.architecture,
        arguments=arguments,
        tensors=tensors,
        preprocessing=embedder.preprocessing,
        metrics=metrics,
        settings=settings,
    )
    save_model(path, file)
