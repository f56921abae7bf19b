"""New items into the groups of a model file."""

from collections.abc import Callable, Generator

import numpy as np
import torch

from dltool.cluster.autoencoder_codes import encode_new, restore_network
from dltool.cluster.clustering import Clustering
from dltool.cluster.distances import Rows
from dltool.cluster.features import embed, restore_embedder
from dltool.cluster.grouping import Grouped
from dltool.cluster.groups_file import SavedGroups
from dltool.cluster.kmeans import nearest_centers
from dltool.cluster.manifold import STORED, measure_groups, vote
from dltool.cluster.settings import ClusterMethod
from dltool.cluster.source import ClusterSource, SourceKind
from dltool.cluster.transform import Transform
from dltool.data.features import Extracted
from dltool.errors import DataError, ModelError
from dltool.events import until_stopped
from dltool.training.context import RunContext

_Assigning = Generator[Extracted, None, Clustering]


def assign(
    groups: SavedGroups, source: ClusterSource, context: RunContext
) -> Generator[Extracted, None, Grouped | None]:
    """Return the new items in the model's groups, clusters numbered as there; None if that was stopped.

    Raises:
        DataError: items of another kind than the model's.
        ModelError: the model is damaged.
    """
    found = yield from until_stopped(_ASSIGNERS[groups.file.architecture](groups, source, context), context.should_stop)
    return None if found is None else Grouped(source, found)


def assign_by_features(groups: SavedGroups, source: ClusterSource, context: RunContext) -> _Assigning:
    """Put each item to the nearest centre in the features that were compared."""
    rows = yield from _embed_new(groups, source, context)
    return nearest_centers(rows, groups.centers.to(context.device))


def assign_by_neighbors(groups: SavedGroups, source: ClusterSource, context: RunContext) -> _Assigning:
    """Put each item to the group that the nearest stored rows vote for: models of `manifold`."""
    tensors = groups.file.tensors
    missing = set(STORED) - set(tensors)
    if missing:
        raise ModelError(f"{groups.path}: damaged: {min(missing)} is missing")
    rows = yield from _embed_new(groups, source, context)
    rows = np.ascontiguousarray(rows[:], np.float32)
    labels = vote(rows, tensors)
    distances, margins, inertia = measure_groups(rows, torch.from_numpy(labels), groups.centers)
    return Clustering(labels, groups.centers, distances, margins, rows, inertia, 0)


def assign_by_codes(groups: SavedGroups, source: ClusterSource, context: RunContext) -> _Assigning:
    """Put each image to the centre nearest to its code: models of `deep-kmeans`."""
    model = groups.file
    if source.split is None:
        raise DataError(f"{source.name}: {source.kind.value}, but {groups.path} groups pictures")
    network = restore_network(model.arguments.get("network"), model.tensors, groups.path)
    if model.preprocessing is None:
        raise ModelError(f"{groups.path}: its description is damaged")
    rows = encode_new(network, source, model.preprocessing, context)
    yield Extracted(len(rows), len(rows))
    return nearest_centers(rows, groups.centers.to(context.device))


_ASSIGNERS: dict[str, Callable[[SavedGroups, ClusterSource, RunContext], _Assigning]] = {
    ClusterMethod.KMEANS: assign_by_features,
    ClusterMethod.MANIFOLD: assign_by_neighbors,
    ClusterMethod.DEEP_KMEANS: assign_by_codes,
}


def _embed_new(groups: SavedGroups, source: ClusterSource, context: RunContext) -> Generator[Extracted, None, Rows]:
    """Return the rows of new items, made as the model's own were.

    Raises:
        DataError: items of another kind or width than the model's.
        ModelError: the model is damaged.
    """
    model, path = groups.file, groups.path
    embedder = restore_embedder(model, path)
    numbers = embedder.preprocessing is None
    if numbers != (source.kind in (SourceKind.TABLE, SourceKind.POINTS)):
        raise DataError(f"{source.name}: {source.kind.value}, but {path} groups {'rows' if numbers else 'pictures'}")
    if numbers and embedder.columns and source.columns and source.columns != embedder.columns:
        raise DataError(f"{source.name}: {path} compares the columns {', '.join(embedder.columns)}; open it with those")
    if embedder.scaling is not None and source.rows.shape[1] != len(embedder.scaling.mean):
        width = len(embedder.scaling.mean)
        raise DataError(f"{source.name}: rows of {source.rows.shape[1]} numbers, but {path} groups those of {width}")
    rows = yield from embed(embedder, source, context)
    transform = Transform.from_tensors(model.tensors, bool(model.arguments.get("normalize")))
    width = transform.mean.shape[0] if transform.mean is not None else groups.centers.shape[1]
    if rows.shape[1] != width:
        raise DataError(f"{source.name}: rows of {rows.shape[1]} numbers, but {path} groups those of {width}")
    return rows if transform.is_identity else transform(rows)
