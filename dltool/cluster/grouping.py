"""From data and settings to groups: open, embed, transform, choose k, group."""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from dltool.cluster.autoencoder_features import is_learned, learn_features
from dltool.cluster.clustering import PER_CLUSTER, Clustering, Notice, Step, Task
from dltool.cluster.distances import Rows, cluster_sums, exact_distances, find_nearest
from dltool.cluster.features import Embedder, embed, image_pixels, new_embedder, resolve_features
from dltool.cluster.gradients import COMPONENTS
from dltool.cluster.k_choice import Choice, choose_k
from dltool.cluster.registry import find_method
from dltool.cluster.scores import count_different
from dltool.cluster.settings import GRADIENTS, ClusterSettings, Method
from dltool.cluster.smoothing import MOST_ROWS, smooth
from dltool.cluster.source import Source
from dltool.cluster.table import TableFile
from dltool.cluster.transform import Transform, fit_transform
from dltool.data.features import Extracted
from dltool.data.pixels import memory_bytes
from dltool.device import memory_errors
from dltool.errors import SettingsError

_SMOOTH_STEPS = 8
# Larger tables stay in their file.
_SHARE_OF_MEMORY = 0.4


@dataclass(frozen=True)
class ClusterContext:
    """Where a run computes, the folder of its checkpoint and of the cache, and when it is to stop."""

    device: torch.device
    folder: Path | None = None
    cache: Path | None = None
    workers: int = 0
    should_stop: Callable[[], bool] = lambda: False
    resume: bool = False


@dataclass(frozen=True)
class Grouped:
    """The whole result: what was grouped, the groups, how items became rows, and why there are so many groups.

    Attributes:
        embedder: None where items were only assigned to the groups of a model.
        plain: the rows before they were smoothed: a new item has no neighbours, so it is compared there.
        smoothed: steps of smoothing.
    """

    source: Source
    clustering: Clustering
    embedder: Embedder | None = None
    transform: Transform = field(default_factory=Transform)
    plain: Rows | None = None
    choice: Choice | None = None
    smoothed: int = 0


def group(
    source: Source, settings: ClusterSettings, context: ClusterContext
) -> Iterator[Extracted | Step | Notice | Choice | Grouped]:
    """Yield progress and at the end, unless it was stopped, a Grouped.

    Raises:
        SettingsError: settings that make no sense for this data, such as more clusters than different items.
        DataError, ModelError, DeviceError: as reading, networks and memory have it.
    """
    if settings.k is not None and settings.k > len(source):
        raise SettingsError(f"-k {settings.k}: more clusters than there are {source.kind.value} ({len(source)})")
    found = yield from _embed(source, settings, context)
    if found is None:
        return
    embedder, features = found
    if isinstance(features, TableFile) and settings.method is not Method.MINIBATCH:
        if features.nbytes <= _SHARE_OF_MEMORY * memory_bytes():
            features = features[:]
        else:
            yield Notice("the table is read anew in every iteration; --method minibatch reads it far less often")
    if settings.k is not None and count_different(features, settings.k) < settings.k:
        different = count_different(features, settings.k)
        raise SettingsError(f"-k {settings.k}: of the {len(source)} {source.kind.value} only {different} differ")
    with memory_errors("try --method minibatch, or a table of fewer rows"):
        transform, plain, rows, steps = yield from _prepare(features, embedder, settings)
        images = None
        if settings.method.is_deep:
            if source.split is None:
                raise SettingsError(f"--method {settings.method.value}: needs pictures, not {source.kind.value}")
            images = image_pixels(source.split, embedder.preprocessing, context.workers)
        task = Task(
            *(rows, settings.k or 0, settings, context.device, images, source.labels, context.folder, context.resume),
            should_stop=context.should_stop,
        )
        yield from _group(task, source, embedder, transform, plain, steps)


def _embed(
    source: Source, settings: ClusterSettings, context: ClusterContext
) -> Generator[Extracted | Step | Notice, None, tuple[Embedder, Rows] | None]:
    """Make rows of the items; None if that was stopped."""
    wanted = resolve_features(settings, source.kind)
    if is_learned(wanted):
        training = (context.device, context.workers, context.folder, context.resume, context.should_stop)
        return (yield from learn_features(wanted, settings, source, *training))
    embedder = new_embedder(settings, source)
    for event in embed(embedder, source, context.device, context.cache, context.workers):
        if not isinstance(event, Extracted):
            return embedder, event
        yield event
        if context.should_stop():
            break
    return None


def _prepare(
    features: Rows, embedder: Embedder, settings: ClusterSettings
) -> Generator[Notice, None, tuple[Transform, Rows, Rows, int]]:
    """Fit the transform and apply it; returns it, the rows before and after smoothing, and the steps of that."""
    photos = embedder.network is not None and not embedder.built
    normalize = photos if settings.normalize is None else settings.normalize
    components = settings.pca
    if embedder.features == GRADIENTS and not components:
        components = min(COMPONENTS, *features.shape)
    transform = fit_transform(features, components, normalize)
    plain = features if transform.is_identity else transform(features)
    steps = (_SMOOTH_STEPS if photos and normalize else 0) if settings.smooth is None else settings.smooth
    if settings.method is Method.MANIFOLD and settings.smooth is None:
        steps = 0  # it looks at neighbours itself
    if steps and len(plain) > MOST_ROWS:
        yield Notice(f"features are not smoothed over neighbours: more than {MOST_ROWS} items")
        steps = 0
    if steps and not normalize:
        raise SettingsError("--smooth: neighbours are told by their angles; it needs --normalize")
    steps = steps if count_different(plain, 3) > 2 else 0
    return transform, plain, smooth(np.asarray(plain), steps) if steps else plain, steps


def _group(
    task: Task, source: Source, embedder: Embedder, transform: Transform, plain: Rows, steps: int
) -> Iterator[Step | Notice | Choice | Grouped]:
    choice = None
    method = task.settings.method
    if not task.k:
        for event in choose_k(task):
            if isinstance(event, Choice):
                if event.tried and method is not Method.KMEANS:
                    event = replace(event, reason=f"{event.reason}; tried by k-means, not by --method {method.value}")
                choice = event
            yield event
        if choice is None:
            return
        task = replace(task, k=choice.k)
    for event in find_method(method)(task):
        if isinstance(event, Clustering):
            ordered = by_size(in_plain_space(event, plain) if steps else event)
            yield Grouped(source, ordered, embedder, transform, plain, choice, steps)
        else:
            yield event


def in_plain_space(clustering: Clustering, plain: Rows) -> Clustering:
    """The same groups with centres, distances and margins among the rows before they were smoothed.

    There they say how typical an image is, and a new image, which has no neighbours, can be compared. A margin is
    negative where neighbours spoke against an image's own features.
    """
    rows = np.asarray(plain)
    labels = torch.from_numpy(clustering.labels)
    sums, counts = cluster_sums(rows, labels, len(clustering.centers))
    centers = torch.nn.functional.normalize(sums / counts[:, None].clamp_min(1)).float()
    own = exact_distances(rows, labels, centers)[0].sqrt()
    nearest = find_nearest(rows, centers, centers.mean(0), second=True)
    other = torch.where(nearest.labels == labels, nearest.second, nearest.squared).sqrt()
    return replace(clustering, centers=centers, distances=own.numpy(), margins=(other - own).numpy())


def by_size(clustering: Clustering) -> Clustering:
    """The same groups, numbered from the largest to the smallest, so that a number does not depend on the start."""
    k = len(clustering.centers)
    sizes = np.bincount(clustering.labels, minlength=k)
    first = [int(np.argmax(clustering.labels == number)) for number in range(k)]
    order = sorted(range(k), key=lambda number: (-sizes[number], first[number]))
    rank = np.empty(k, np.int32)
    rank[order] = np.arange(k)
    images = clustering.center_images
    tensors = {
        name: tensor[order] if name.startswith(PER_CLUSTER) else tensor for name, tensor in clustering.tensors.items()
    }
    return replace(
        clustering,
        labels=rank[clustering.labels],
        centers=clustering.centers[order],
        tensors=tensors,
        center_images=None if images is None else [images[number] for number in order],
    )
