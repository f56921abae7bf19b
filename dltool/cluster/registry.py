"""Methods of grouping by name, imported when they are asked for."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from dltool.cluster.clustering import GroupingMethod
from dltool.cluster.settings import Method

_HOMES = {
    Method.KMEANS: ("dltool.cluster.kmeans", "group_by_kmeans"),
    Method.MINIBATCH: ("dltool.cluster.minibatch", "group_by_minibatch"),
    Method.DEEP_KMEANS: ("dltool.cluster.deep_kmeans", "group_by_deep_kmeans"),
    Method.MANIFOLD: ("dltool.cluster.manifold", "group_by_manifold"),
}


# What assigns new items with a model file, by its architecture: (ModelFile, Source, device, workers) to a Clustering.
_ASSIGNERS = {
    "kmeans": ("dltool.cluster.assignment", "assign_features"),
    "deep-kmeans": ("dltool.cluster.deep_kmeans", "assign_deep"),
    "manifold": ("dltool.cluster.manifold", "assign_manifold"),
}


def find_method(method: Method) -> GroupingMethod:
    """The generator that groups by this method."""
    module, name = _HOMES[method]
    return getattr(import_module(module), name)


def find_assigner(architecture: str) -> Callable[..., Any] | None:
    """The generator that assigns new items with a model of this architecture; None for an unknown one."""
    if architecture not in _ASSIGNERS:
        return None
    module, name = _ASSIGNERS[architecture]
    return getattr(import_module(module), name)
