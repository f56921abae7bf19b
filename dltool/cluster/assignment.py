"""New items into the groups of a model file."""

from collections.abc import Generator, Iterator
from pathlib import Path

import torch

from dltool.cluster.clustering import Clustering, Notice, Step
from dltool.cluster.distances import Rows, find_nearest
from dltool.cluster.features import embed, restore_embedder
from dltool.cluster.groups_file import COMMAND
from dltool.cluster.kmeans import finish
from dltool.cluster.registry import find_assigner
from dltool.cluster.settings import ClusterSettings
from dltool.cluster.source import Kind, Source
from dltool.cluster.transform import Transform
from dltool.data.features import Extracted
from dltool.errors import DataError, ModelError, SettingsError
from dltool.training.model_file import ModelFile, load_model


def load_groups(path: Path) -> ModelFile:
    """Read a model of `dltool cluster`; a result's folder stands for the model in it.

    Raises:
        ModelError: no such file, or not such a model.
    """
    if path.is_dir():
        path = path / "model.safetensors"
    model = load_model(path, COMMAND)
    centers = model.tensors.get("centers")
    if find_assigner(model.architecture) is None or centers is None or centers.ndim != 2:
        raise ModelError(f"{path}: not a grouping that this version knows ({model.architecture})")
    return model


def model_settings(model: ModelFile, path: Path) -> ClusterSettings:
    """The settings that a model's groups were made with.

    Raises:
        ModelError: they are damaged.
    """
    try:
        return ClusterSettings(**model.settings)
    except (TypeError, ValueError, SettingsError) as error:
        raise ModelError(f"{path}: its settings are damaged") from error


def assign(
    model: ModelFile, path: Path, source: Source, device: torch.device, cache: Path | None, workers: int
) -> Iterator[Extracted | Step | Notice | Clustering]:
    """Yield progress and at the end a Clustering of the new items, clusters numbered as in the model.

    Raises:
        DataError: items of another kind than the model's.
        ModelError: the model is damaged.
    """
    assigner = find_assigner(model.architecture)
    assert assigner is not None
    yield from assigner(model, path, source, device, cache, workers)


def assign_features(
    model: ModelFile, path: Path, source: Source, device: torch.device, cache: Path | None, workers: int
) -> Iterator[Extracted | Clustering]:
    """The assigner of models that compare features with centres."""
    rows = yield from embed_new(model, path, source, device, cache, workers)
    yield nearest_centers(rows, model.tensors["centers"].float().to(device))


def embed_new(
    model: ModelFile, path: Path, source: Source, device: torch.device, cache: Path | None, workers: int
) -> Generator[Extracted, None, Rows]:
    """Yield progress and return the rows of new items, made as the model's own were.

    Raises:
        DataError: items of another kind or width than the model's.
        ModelError: the model is damaged.
    """
    embedder = restore_embedder(model.arguments, model.preprocessing, model.tensors, path)
    numbers = embedder.preprocessing is None
    if numbers != (source.kind in (Kind.TABLE, Kind.POINTS)):
        raise DataError(f"{source.name}: {source.kind.value}, but {path} groups {'rows' if numbers else 'pictures'}")
    rows: Rows | None = None
    for event in embed(embedder, source, device, cache, workers):
        if isinstance(event, Extracted):
            yield event
        else:
            rows = event
    assert rows is not None
    transform = Transform.from_tensors(model.tensors, bool(model.arguments.get("normalize")))
    width = transform.mean.shape[0] if transform.mean is not None else model.tensors["centers"].shape[1]
    if rows.shape[1] != width:
        raise DataError(f"{source.name}: rows of {rows.shape[1]} numbers, but {path} groups those of {width}")
    return rows if transform.is_identity else transform(rows)


def nearest_centers(rows: Rows, centers: torch.Tensor) -> Clustering:
    """The Clustering of rows by centres that stand fast."""
    nearest = find_nearest(rows, centers, centers.mean(0), second=True)
    return finish(rows, rows, centers, nearest, 0)
