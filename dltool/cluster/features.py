"""Features of what shall be grouped: a backbone's, pixels, edges, an autoencoder's codes, or a table's own numbers."""

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dltool.autoencoder.autoencoder_file import TrainedAutoencoder, load_autoencoder
from dltool.autoencoder.networks import Autoencoder
from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.pooled import input_size, remove_classifier
from dltool.backbones.preprocessing import Preprocessing
from dltool.backbones.registry import create_backbone
from dltool.cluster.autoencoder_codes import encode_new, network_arguments, restore_network, train_codes
from dltool.cluster.clustering import GroupingStep
from dltool.cluster.deep_training import Checkpoints
from dltool.cluster.distances import Rows
from dltool.cluster.gradients import gradient_features
from dltool.cluster.settings import AUTO, AUTOENCODER, GRADIENTS, PIXELS, VALUES, ClusterMethod, ClusterSettings
from dltool.cluster.small_images import DeviceImages, encode_all, fit_channels, image_pixels
from dltool.cluster.source import ClusterSource, SourceKind
from dltool.cluster.table import Scaling
from dltool.data.features import Extracted, FeatureExtractor
from dltool.data.splits import ArraySplit
from dltool.errors import DataError, ModelError, SettingsError
from dltool.events import until_stopped
from dltool.training.context import RunContext
from dltool.training.events import Notice
from dltool.training.model_file import ModelFile, restore_module

# Files are scaled to this side where their pixels are compared.
PIXEL_SIDE = 32
_CHUNK = 512
_MEAN, _SCALE = "table.mean", "table.scale"


@dataclass(frozen=True)
class Embedder:
    """How items become rows of numbers; a model file keeps it.

    Attributes:
        features: `values` (a table's numbers), `pixels`, or a backbone's name.
        network: a backbone without its last layer, or a network that was trained on the images.
        preprocessing: of images.
        shape: of the images whose pixels are compared: H, W, and 3 where they have colours.
        built: what builds a network again that is no backbone.
        scaling, columns: of a table, which columns are compared, and how they are centred and scaled.
    """

    features: str
    network: nn.Module | None = None
    preprocessing: Preprocessing | None = None
    shape: tuple[int, ...] = ()
    built: dict[str, Any] = field(default_factory=dict)
    scaling: Scaling | None = None
    columns: tuple[str, ...] = ()

    @property
    def arguments(self) -> dict[str, Any]:
        """What JSON can hold of it."""
        table = {"columns": list(self.columns)} if self.columns else {}
        return {"features": self.features, "shape": list(self.shape), "network": self.built, **table}


def resolve_features(settings: ClusterSettings, kind: SourceKind) -> str:
    """What `--features` means for this kind of data.

    Raises:
        SettingsError: it makes no sense for it.
    """
    if kind in (SourceKind.TABLE, SourceKind.POINTS):
        if settings.features not in (AUTO, VALUES):
            raise SettingsError(f"--features {settings.features}: these are {kind.value}, not pictures; leave it out")
        return VALUES
    if settings.method.is_deep:
        return PIXELS
    if settings.features == AUTO and kind is SourceKind.ARRAYS:
        return GRADIENTS if settings.method is ClusterMethod.MANIFOLD else PIXELS
    if settings.features == AUTO:
        return DEFAULT_BACKBONE
    if settings.features == VALUES:
        raise SettingsError(f"--features {VALUES}: those of a table, but these are {kind.value}; leave it out")
    if settings.features == f"{AUTOENCODER}:":
        raise SettingsError(f"--features {settings.features}: name a model of dltool ae after the colon")
    return settings.features


def new_embedder(settings: ClusterSettings, source: ClusterSource) -> Embedder:
    """The embedder that the settings ask for.

    Raises:
        SettingsError: no such features, or not for this data.
        ModelError: weights cannot be had.
    """
    features = resolve_features(settings, source.kind)
    if features == VALUES:
        return _table_embedder(settings, source)
    if features in (PIXELS, GRADIENTS):
        return replace(pixel_embedder(settings, source), features=features)
    backbone = create_backbone(features, settings.weights, settings.seed, "--features")
    network, _, _ = remove_classifier(backbone, "--features")
    # The larger of the two sizes that suit a network trained on random crops; see `input_size`.
    preprocessing, _ = input_size(network, backbone.preprocessing, settings.size, multiscale=not settings.size)
    return Embedder(features, network, preprocessing)


def _table_embedder(settings: ClusterSettings, source: ClusterSource) -> Embedder:
    if source.statistics is None:
        return Embedder(VALUES)
    unlike = source.statistics.unlike is not None
    standardize = unlike if settings.standardize is None else settings.standardize
    return Embedder(VALUES, scaling=source.statistics.scaling(standardize, source.name), columns=source.columns)


def pixel_embedder(settings: ClusterSettings, source: ClusterSource, size: tuple[int, int] | None = None) -> Embedder:
    """The embedder of images' pixels: small images as they are, others as squares; all at `size` if it is given.

    Raises:
        SettingsError: a `size` that is no square.
    """
    if size is not None and size[0] != size[1]:
        raise SettingsError(f"--features {settings.features}: made for pictures of {size}; a square is needed")
    if isinstance(source.split, ArraySplit) and not settings.size and size in (None, source.split.images.shape[1:3]):
        shape = source.split.images.shape[1:]
        return Embedder(PIXELS, preprocessing=Preprocessing(resize=shape[0], crop=shape[0]), shape=shape)
    side = size[0] if size else settings.size or PIXEL_SIDE
    return Embedder(PIXELS, preprocessing=Preprocessing(resize=side, crop=side), shape=(side, side, 3))


def embedder_for_files(settings: ClusterSettings) -> Embedder:
    """The embedder for files of images, made before they are looked at, so that they are decoded for it.

    Of an autoencoder that is trained or given it has the preprocessing only.

    Raises:
        SettingsError, ModelError: as `new_embedder` and reading a given model have it.
    """
    files = ClusterSource("", SourceKind.FILES)
    kind, _, given = resolve_features(settings, files.kind).partition(":")
    if kind != AUTOENCODER:
        return new_embedder(settings, files)
    return pixel_embedder(settings, files, _load_given(given).size if given else None)


def make_features(
    source: ClusterSource, settings: ClusterSettings, context: RunContext, embedder: Embedder | None = None
) -> Generator[Extracted | GroupingStep | Notice, None, tuple[Embedder, Rows] | None]:
    """Make rows of the items as the settings ask; return the embedder and N × D rows, None if that was stopped.

    `embedder` is what the settings ask for, if it has been made already.

    Raises:
        SettingsError: no such features, or not for this data.
        DataError: an image cannot be read, or there are too few to learn from.
        ModelError: weights or a given model cannot be had.
    """
    wanted = resolve_features(settings, source.kind)
    if wanted.partition(":")[0] == AUTOENCODER:
        return (yield from _learn_codes(wanted, source, settings, context))
    embedder = embedder or new_embedder(settings, source)
    if embedder.scaling is not None and embedder.scaling.scale is not None and settings.standardize is None:
        wide, narrow = source.statistics.unlike
        names = source.columns or tuple(str(number + 1) for number in range(source.rows.shape[1]))
        told = ", ".join(f"'{names[column]}' has {source.statistics.spread[column]:.3g}" for column in (wide, narrow))
        yield Notice(
            f"columns are standardized, as their spreads differ: {told}; --no-standardize takes them as they are"
        )
    rows = yield from until_stopped(embed(embedder, source, context), context.should_stop)
    return None if rows is None else (embedder, rows)


def embed(embedder: Embedder, source: ClusterSource, context: RunContext) -> Generator[Extracted, None, Rows]:
    """Return the N × D rows, float32; photos' features are means over each image and its mirror image.

    Raises:
        DataError: an image cannot be read, or is of another size than the model's.
    """
    if embedder.features == VALUES:
        return source.rows if embedder.scaling is None else embedder.scaling(source.rows)
    assert source.split is not None and embedder.preprocessing is not None
    if embedder.network is None:
        rows = pixel_rows(source, embedder, context.workers)
        return gradient_rows(rows, embedder.shape, context.device) if embedder.features == GRADIENTS else rows
    if embedder.built:
        return encode_new(embedder.network, source, embedder.preprocessing, context)
    reader = source.reader_for(embedder.preprocessing)
    extractor = FeatureExtractor(embedder.network, embedder.preprocessing, context.device, cache=context.cache)
    views = []
    for flipped in (False, True):
        yield from extractor.fill(source.split, reader, context.workers, flipped)
        views.append(extractor.store(flipped).rows(source.split.hashes))
    return torch.stack(views).mean(0).numpy()


def _learn_codes(
    features: str, source: ClusterSource, settings: ClusterSettings, context: RunContext
) -> Generator[GroupingStep | Notice, None, tuple[Embedder, np.ndarray] | None]:
    """Codes of an autoencoder that is trained on the source's images, or of a given one; None if it was stopped."""
    assert source.split is not None
    kind, _, given = features.partition(":")
    trained = _load_given(given) if given else None
    embedder = pixel_embedder(settings, source, None if trained is None else trained.size)
    images = fit_channels(image_pixels(source, embedder.preprocessing, context.workers), embedder.shape)
    grey = images.ndim == 4 and (images == images[..., :1]).all()
    if grey if trained is None else trained.channels == 1:
        images = fit_channels(images, images.shape[1:3])
    photos = DeviceImages(images, context.device)
    if trained is not None:
        network: Autoencoder | None = trained.module
        arguments = {"arch": trained.arch, **trained.arguments}
    else:
        if len(photos) < 2:
            raise DataError(f"--features {features}: one picture is too little to learn from")
        network = yield from train_codes(photos, settings, Checkpoints(context, settings, images), context.should_stop)
        if network is None:
            return None
        arguments = network_arguments(network)
    network = network.to(context.device).eval()
    embedder = Embedder(kind, network, embedder.preprocessing, images.shape[1:], arguments)
    return embedder, encode_all(network.encode, photos).numpy()


def _load_given(path: str) -> TrainedAutoencoder:
    trained = load_autoencoder(path)
    if not isinstance(trained.module, Autoencoder):
        raise ModelError(f"--features ae:{path}: {trained.arch} has no codes; train one with --arch conv")
    return trained


def pixel_rows(source: ClusterSource, embedder: Embedder, workers: int) -> np.ndarray:
    """N × D pixels in [0, 1]; grey images for a model of grey ones."""
    images = fit_channels(image_pixels(source, embedder.preprocessing, workers), embedder.shape)
    return images.reshape(len(images), -1).astype(np.float32) / 255


@torch.inference_mode()
def gradient_rows(rows: np.ndarray, shape: tuple[int, ...], device: torch.device) -> np.ndarray:
    """N × D gradient features of N rows of pixels in [0, 1], which are images of `shape`."""
    parts = []
    for piece in torch.from_numpy(rows).split(_CHUNK):
        images = piece.to(device).view(len(piece), *shape)
        parts.append(gradient_features(images[:, None] if len(shape) == 2 else images.permute(0, 3, 1, 2)).cpu())
    # Rounded, so that copies have equal rows wherever in a batch they stand.
    return np.round(torch.cat(parts).numpy(), 4)


def embedder_tensors(embedder: Embedder) -> dict[str, Tensor]:
    """The tensors of the network, or of a table's scaling, for the model file."""
    if embedder.scaling is not None:
        own = {_MEAN: embedder.scaling.mean, _SCALE: embedder.scaling.scale}
        return {name: torch.from_numpy(np.array(values)) for name, values in own.items() if values is not None}
    if embedder.network is None:
        return {}
    return {f"network.{name}": tensor for name, tensor in embedder.network.state_dict().items()}


def restore_embedder(model: ModelFile, path: Path) -> Embedder:
    """The embedder of a model file.

    Raises:
        ModelError: its description or tensors are damaged.
    """
    arguments, preprocessing, tensors = model.arguments, model.preprocessing, model.tensors
    features, shape = arguments.get("features"), tuple(arguments.get("shape") or ())
    if features == VALUES:
        return Embedder(VALUES, scaling=_stored_scaling(tensors), columns=tuple(arguments.get("columns") or ()))
    if preprocessing is None or not isinstance(features, str):
        raise ModelError(f"{path}: its description is damaged")
    if features in (PIXELS, GRADIENTS):
        return Embedder(features, None, preprocessing, shape)
    if arguments.get("network"):
        network = restore_network(arguments["network"], tensors, path)
        return Embedder(features, network, preprocessing, shape, arguments["network"])
    backbone = create_backbone(features, "none")
    network, _, _ = remove_classifier(backbone)
    own = {name.removeprefix("network."): tensor for name, tensor in tensors.items() if name.startswith("network.")}
    restore_module(network, own, path)
    return Embedder(features, network.eval(), replace(preprocessing))


def _stored_scaling(tensors: dict[str, Tensor]) -> Scaling | None:
    """None for groups of toy points, and for those of older versions, whose rows were compared as they are."""
    if _MEAN not in tensors:
        return None
    return Scaling(tensors[_MEAN].numpy(), tensors[_SCALE].numpy() if _SCALE in tensors else None)
