"""The model file of a grouping: how items become rows, and the centres."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dltool.cluster.distances import Rows, cluster_sums, find_nearest
from dltool.cluster.embed import embedder_tensors
from dltool.cluster.group import Grouped
from dltool.training.model_file import ModelFile, save_model

COMMAND = "cluster"
# Architectures whose new items are embedded as the grouped ones were.
FROM_FEATURES = ("kmeans", "manifold")


def plain_centers(grouped: Grouped) -> Tensor:
    """k × D float32 centres for new items: where features were smoothed, the means of the rows before that.

    A new item has no neighbours to be smoothed over.
    """
    clustering = grouped.clustering
    if not grouped.smoothed:
        return clustering.centers
    sums, counts = cluster_sums(grouped.plain, torch.from_numpy(clustering.labels), len(clustering.centers))
    means = sums / counts[:, None].clamp_min(1)
    return torch.nn.functional.normalize(means).float()


def model_agreement(rows: Rows, labels: np.ndarray, centers: Tensor) -> float:
    """Share of the grouped items that the model, if they were new, would put where they are."""
    nearest = find_nearest(rows, centers, centers.mean(0))
    return float((nearest.labels.numpy() == labels).mean())


def write_model(
    path: Path, grouped: Grouped, centers: Tensor, metrics: dict[str, Any], settings: dict[str, Any]
) -> None:
    """Write everything that assigning new items needs.

    Raises:
        DltoolError: the file cannot be written.
    """
    clustering, embedder = grouped.clustering, grouped.embedder
    arguments: dict[str, Any] = {"k": len(clustering.centers), **clustering.arguments}
    tensors = {"centers": clustering.centers, **clustering.tensors}
    if clustering.architecture in FROM_FEATURES:
        arguments |= embedder.arguments | {"normalize": grouped.transform.normalize}
        tensors |= {"centers": centers, **grouped.transform.tensors(), **embedder_tensors(embedder)}
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
