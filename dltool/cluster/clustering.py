"""What every method of grouping takes, says while it works, and returns."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dltool.cluster.settings import ClusterSettings
from dltool.training.context import RunContext
from dltool.training.events import Notice

PER_CLUSTER = "cluster."


@dataclass(frozen=True)
class GroupingStep:
    """Progress of long work: `done` of `total` parts of `task`; `figure` is the number that matters."""

    task: str
    done: int
    total: int
    figure: str = ""


@dataclass(frozen=True)
class GroupingTask:
    """What is to be grouped.

    Attributes:
        rows: N × D float32 features, an array or a memory map; for deep methods the pixels in [0, 1], flattened.
        k: number of clusters, at most N.
        context: a method that trains keeps its checkpoint in the context's run and saves it when asked to stop;
            the others are left between two steps by whoever runs them.
        images: N × H × W or N × H × W × 3 uint8 images of one size, for deep methods; None for the others.
        labels: N int64 true classes where they are known. For scoring alone: no method may look at them otherwise.
    """

    rows: np.ndarray
    k: int
    settings: ClusterSettings
    context: RunContext
    images: np.ndarray | None = None
    labels: np.ndarray | None = None

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return self.context.device


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
        outliers: how many items the last group has that fit into no other; 0: there is no such group.
        center_images: k images, H × W × 3 uint8, where a decoder can show a centre.
        architecture, arguments, tensors: what the model file holds beyond centres, so that `assignment.assign` can
            assign new images. Tensors with a row per cluster are called `cluster.…`: clusters are numbered anew,
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
    outliers: int = 0
    center_images: list[np.ndarray] | None = None
    architecture: str = "kmeans"
    arguments: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)


# A generator that yields steps and notices and returns a Clustering; None only where training was stopped.
GroupingMethod = Callable[[GroupingTask], Generator[GroupingStep | Notice, None, Clustering | None]]
