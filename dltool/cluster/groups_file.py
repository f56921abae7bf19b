"""The model file of a grouping: how items become rows, and the centres."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from dltool.cluster.distances import Rows, find_nearest
from dltool.cluster.features import embedder_tensors
from dltool.cluster.grouping import Grouped
from dltool.cluster.settings import ClusterMethod, ClusterSettings
from dltool.errors import ModelError, SettingsError
from dltool.training.model_file import ModelFile, load_model, model_path, save_model

COMMAND = "cluster"
# Those whose new items are embedded as the grouped ones were, and those that keep their own network.
_FROM_FEATURES = (ClusterMethod.KMEANS, ClusterMethod.MANIFOLD)
_ARCHITECTURES = (*_FROM_FEATURES, ClusterMethod.DEEP_KMEANS)


def model_agreement(rows: Rows, labels: np.ndarray, centers: Tensor) -> float:
    """Share of the grouped items that the model, if they were new, would put where they are."""
    nearest = find_nearest(rows, centers, centers.mean(0))
    return float((nearest.labels.numpy() == labels).mean())


def save_groups(path: Path, grouped: Grouped, metrics: dict[str, Any], settings: dict[str, Any]) -> None:
    """Write everything that assigning new items needs.

    Raises:
        DltoolError: the file cannot be written.
    """
    clustering, embedder = grouped.clustering, grouped.embedder
    # No new item is put where the outliers' mean is.
    centers = clustering.centers[:-1] if clustering.outliers else clustering.centers
    arguments: dict[str, Any] = {"k": len(centers), **clustering.arguments}
    tensors = {"centers": centers, **clustering.tensors}
    if clustering.architecture in _FROM_FEATURES:
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


@dataclass(frozen=True)
class SavedGroups:
    """Groups as a model file holds them, which new items can be put into; `path` is for messages."""

    path: Path
    file: ModelFile

    @property
    def centers(self) -> Tensor:
        """k × D float32 on the CPU."""
        return self.file.tensors["centers"].float()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of a table that are compared; empty where all are, or images were grouped."""
        return tuple(self.file.arguments.get("columns") or ())

    @property
    def settings(self) -> ClusterSettings:
        """What the groups were made with.

        Raises:
            ModelError: the file's settings are damaged.
        """
        try:
            return ClusterSettings(**self.file.settings)
        except (TypeError, ValueError, SettingsError) as error:
            raise ModelError(f"{self.path}: its settings are damaged") from error


def load_groups(path: Path) -> SavedGroups:
    """Read a model of `dltool cluster`; a result's folder stands for the model in it.

    Raises:
        ModelError: no such file, or not such a model.
    """
    path = model_path(path)
    file = load_model(path, COMMAND)
    centers = file.tensors.get("centers")
    if file.architecture not in _ARCHITECTURES or centers is None or centers.ndim != 2:
        raise ModelError(f"{path}: not a grouping that this version knows ({file.architecture})")
    return SavedGroups(path, file)
