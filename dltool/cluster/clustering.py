"""What every method of grouping takes and gives."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dltool.cluster.settings import ClusterSettings

PER_CLUSTER = "cluster."


@dataclass(frozen=True)
class Step:
    """Progress of long work: `done` of `total` parts of `task`; `figure` is the number that matters."""

    task: str
    done: int
    total: int
    figure: str = ""


@dataclass(frozen=True)
class Notice:
    """A line that the user should read."""

    text: str


@dataclass(frozen=True)
class Task:
    """What is to be grouped.

    Attributes:
        rows: N × D float32 features, an array or a memory map; for deep methods the pixels in [0, 1], flattened.
        k: number of clusters, at most N.
        images: N × H × W or N × H × W × 3 uint8 images of one size, for deep methods; None for the others.
        labels: N int64 true classes where they are known. For scoring alone: no method may look at them otherwise.
        folder: the output's folder, where a method that trains keeps its `last.ckpt`.
        should_stop: asked between steps; a method that trains saves its checkpoint and returns without a Clustering.
    """

    rows: np.ndarray
    k: int
    settings: ClusterSettings
    device: torch.device
    images: np.ndarray | None = None
    labels: np.ndarray | None = None
    folder: Path | None = None
    resume: bool = False
    should_stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Clustering:
    """Groups that a method found.

    Attributes:
        labels: N integers in [0, k).
        centers: k × D float32, in the space of `embedding` (of the rows before they were smoothed, where they were).
        distances: N float32, Euclidean, from each row to its own centre.
        margins: N float32, how much further away the nearest other centre is; infinite for k = 1.
        embedding: N × D, what was compared: rows of the map.
        inertia: sum of squared distances.
        iterations: of the loop that found them.
        figures: more numbers for the report, such as a baseline's accuracy beside the method's own.
        center_pictures: k images, H × W × 3 uint8, where a decoder can show a centre.
        architecture, arguments, tensors: what the model file holds beyond centres, so that `methods.find_assigner`
            can assign new images. Tensors with a row per cluster are called `cluster.…`: clusters are numbered anew,
            by their size, before they are written.
    """

    labels: np.ndarray
    centers: Tensor
    distances: np.ndarray
    margins: np.ndarray
    embedding: np.ndarray
    inertia: float
    iterations: int
    figures: dict[str, Any] = field(default_factory=dict)
    center_images: list[np.ndarray] | None = None
    architecture: str = "kmeans"
    arguments: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)


# A generator that yields Steps and Notices and, unless it was stopped, one Clustering at the end.
GroupingMethod = Callable[[Task], Iterator["Step | Notice | Clustering"]]
