"""From data and settings to groups: embed, transform, choose k, group."""

from collections.abc import Generator
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from dltool.cluster.clustering import PER_CLUSTER, Clustering, GroupingMethod, GroupingStep, GroupingTask
from dltool.cluster.deep_kmeans import group_by_deep_kmeans
from dltool.cluster.distances import Rows, cluster_sums, exact_distances, find_nearest
from dltool.cluster.features import Embedder, make_features
from dltool.cluster.gradients import COMPONENTS
from dltool.cluster.k_choice import Choice, choose_k
from dltool.cluster.kmeans import group_by_kmeans
from dltool.cluster.linkage import group_by_distance
from dltool.cluster.manifold import group_by_manifold
from dltool.cluster.minibatch import group_by_minibatch
from dltool.cluster.outliers import find_outliers, with_outliers
from dltool.cluster.scores import count_different, take
from dltool.cluster.settings import AUTO, GRADIENTS, ClusterMethod, ClusterSettings
from dltool.cluster.small_images import image_pixels
from dltool.cluster.smoothing import MOST_ROWS, smooth
from dltool.cluster.source import ClusterSource
from dltool.cluster.table import TableFile
from dltool.cluster.transform import Transform, fit_transform
from dltool.data.features import Extracted
from dltool.data.pixels import memory_bytes
from dltool.device import memory_errors
from dltool.errors import SettingsError
from dltool.events import until_stopped
from dltool.training.context import RunContext
from dltool.training.events import Notice

_SMOOTH_STEPS = 8
# Among fewer items a group of one is nothing odd.
_FEW_ITEMS, _NAMED = 10, 5
# Larger tables stay in their file.
_SHARE_OF_MEMORY = 0.4
_METHODS: dict[ClusterMethod, GroupingMethod] = {
    ClusterMethod.KMEANS: group_by_kmeans,
    ClusterMethod.MINIBATCH: group_by_minibatch,
    ClusterMethod.DEEP_KMEANS: group_by_deep_kmeans,
    ClusterMethod.MANIFOLD: group_by_manifold,
}


@dataclass(frozen=True)
class Grouped:
    """The whole result: what was grouped, the groups, how items became rows, and why there are so many groups.

    Attributes:
        embedder: None where items were only assigned to the groups of a model.
        plain: the rows before they were smoothed: a new item has no neighbours, so it is compared there.
        smoothed: steps of smoothing.
    """

    source: ClusterSource
    clustering: Clustering
    embedder: Embedder | None = None
    transform: Transform = field(default_factory=Transform)
    plain: Rows | None = None
    choice: Choice | None = None
    smoothed: int = 0


@dataclass(frozen=True)
class _Prepared:
    """Rows as they are compared, those before they were smoothed, and what made them; `steps` of smoothing."""

    transform: Transform
    plain: Rows
    rows: Rows
    steps: int


def group(
    source: ClusterSource, settings: ClusterSettings, context: RunContext, embedder: Embedder | None = None
) -> Generator[Extracted | GroupingStep | Notice | Choice, None, Grouped | None]:
    """Group a source's items; None if that was stopped.

    What trains keeps its checkpoint in the context's run, and goes on from it if the context resumes.

    Args:
        embedder: what `embedder_for_files` made of the settings, where the source was opened for it.

    Raises:
        SettingsError: settings that make no sense for this data, such as more clusters than different items.
        DataError, ModelError, DeviceError: as reading, networks and memory have it.
    """
    if settings.k is not None and settings.k > len(source):
        raise SettingsError(f"-k {settings.k}: more clusters than there are {source.kind.value} ({len(source)})")
    found = yield from make_features(source, settings, context, embedder)
    if found is None:
        return None
    embedder, features = found
    if isinstance(features, TableFile) and settings.method is not ClusterMethod.MINIBATCH:
        if features.nbytes <= _SHARE_OF_MEMORY * memory_bytes():
            features = features[:]
        else:
            yield Notice("the table is read anew in every iteration; --method minibatch reads it far less often")
    if settings.k is not None and count_different(features, settings.k) < settings.k:
        different = count_different(features, settings.k)
        raise SettingsError(f"-k {settings.k}: of the {len(source)} {source.kind.value} only {different} differ")
    with memory_errors("try --method minibatch, or a table of fewer rows"):
        prepared = yield from _prepare(features, embedder, settings)
        images = None
        if settings.method.is_deep:
            if source.split is None:
                raise SettingsError(f"--method {settings.method.value}: needs pictures, not {source.kind.value}")
            images = image_pixels(source, embedder.preprocessing, context.workers)
        task = GroupingTask(prepared.rows, settings.k or 0, settings, context, images, source.labels)
        found = yield from _group_rows(task, prepared)
        if found is not None and settings.outliers is not None:
            found = yield from _group_without_outliers(task, prepared, *found)
    if found is None:
        return None
    ordered, choice = found
    alone = _items_alone(source, ordered)
    if alone:
        yield Notice(alone)
    return Grouped(source, ordered, embedder, prepared.transform, prepared.plain, choice, prepared.steps)


def _group_rows(
    task: GroupingTask, prepared: _Prepared
) -> Generator[GroupingStep | Notice | Choice, None, tuple[Clustering, Choice | None] | None]:
    """Groups from the largest to the smallest, and the choice of their number; None if that was stopped."""
    choice = None
    if not task.k and task.settings.distance is None:
        choice = yield from _choose_k(task)
        if choice is None:
            return None
        yield choice
        task = replace(task, k=choice.k)
    clustering = yield from _run_method(task)
    if clustering is None:
        return None
    return by_size(in_plain_space(clustering, prepared.plain) if prepared.steps else clustering), choice


def _group_without_outliers(
    task: GroupingTask, prepared: _Prepared, clustering: Clustering, choice: Choice | None
) -> Generator[GroupingStep | Notice | Choice, None, tuple[Clustering, Choice | None] | None]:
    """Group all but the outliers anew, so that none of them draws a centre, and have them as the last group."""
    share = None if task.settings.outliers == AUTO else float(task.settings.outliers)
    far = find_outliers(clustering, share)
    if not far.any() or len(far) - far.sum() < max(task.k, 2):
        yield Notice("--outliers: no item is far from every centre")
        return clustering, choice
    kept = np.flatnonzero(~far)
    inner = replace(prepared, plain=take(prepared.plain, kept), rows=take(prepared.rows, kept))
    found = yield from _group_rows(replace(task, rows=inner.rows), inner)
    if found is None:
        return None
    return with_outliers(found[0], prepared.plain, far), found[1]


def _items_alone(source: ClusterSource, clustering: Clustering) -> str:
    """Words about groups of one item, which are as often outliers that drew a centre; empty without any."""
    sizes = np.bincount(clustering.labels, minlength=len(clustering.centers))
    numbers = np.flatnonzero((sizes == 1)[clustering.labels])
    if not len(numbers) or len(sizes) < 2 or len(source) < _FEW_ITEMS:
        return ""
    names = ", ".join(source.item(int(number)) for number in numbers[:_NAMED]) + (
        ", …" if len(numbers) > _NAMED else ""
    )
    what = "a group of one item" if len(numbers) == 1 else f"{len(numbers)} groups of one item"
    return f"{what}: {names}; if it is an outlier, --outliers auto groups the others without it"


def _prepare(features: Rows, embedder: Embedder, settings: ClusterSettings) -> Generator[Notice, None, _Prepared]:
    """Fit the transform and apply it, and smooth over neighbours."""
    photos = embedder.network is not None and not embedder.built
    normalize = photos if settings.normalize is None else settings.normalize
    components = settings.pca
    if embedder.features == GRADIENTS and not components:
        components = min(COMPONENTS, *features.shape)
    transform = fit_transform(features, components, normalize)
    plain = features if transform.is_identity else transform(features)
    steps = (_SMOOTH_STEPS if photos and normalize else 0) if settings.smooth is None else settings.smooth
    if (settings.method is ClusterMethod.MANIFOLD or settings.distance is not None) and settings.smooth is None:
        steps = 0  # it looks at neighbours itself, or at distances that shall mean something
    if steps and len(plain) > MOST_ROWS:
        yield Notice(f"features are not smoothed over neighbours: more than {MOST_ROWS} items")
        steps = 0
    if steps and not normalize:
        raise SettingsError("--smooth: neighbours are told by their angles; it needs --normalize")
    steps = steps if count_different(plain, 3) > 2 else 0
    return _Prepared(transform, plain, smooth(np.asarray(plain), steps) if steps else plain, steps)


def _choose_k(task: GroupingTask) -> Generator[GroupingStep, None, Choice | None]:
    method = task.settings.method
    choice = yield from until_stopped(choose_k(task), task.context.should_stop)
    if choice is not None and choice.tried and method not in (ClusterMethod.KMEANS, ClusterMethod.MANIFOLD):
        return replace(choice, reason=f"{choice.reason}; tried by k-means, not by --method {method.value}")
    return choice


def _run_method(task: GroupingTask) -> Generator[GroupingStep | Notice, None, Clustering | None]:
    if task.settings.distance is not None:
        return (yield from until_stopped(group_by_distance(task), task.context.should_stop))
    events = _METHODS[task.settings.method](task)
    if task.settings.method.is_deep:  # it saves its checkpoint before it stops
        return (yield from events)
    return (yield from until_stopped(events, task.context.should_stop))


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
