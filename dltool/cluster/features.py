"""Features of what shall be grouped: a backbone's, the pixels, or the table's own numbers."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dltool.backbones import DEFAULT_BACKBONE
from dltool.backbones.pooled import input_size, remove_classifier
from dltool.backbones.preprocessing import Preprocessing
from dltool.backbones.registry import create_backbone
from dltool.cluster.gradients import gradient_features
from dltool.cluster.settings import AUTO, AUTOENCODER, GRADIENTS, PIXELS, VALUES, ClusterSettings, Method
from dltool.cluster.source import Kind, Source
from dltool.cluster.table import TableFile
from dltool.data.features import Extracted, FeatureExtractor
from dltool.data.pixels import PixelReader
from dltool.data.splits import ArraySplit, Split
from dltool.errors import DataError, ModelError, SettingsError
from dltool.images.stream import read_ahead

# Files are scaled to this side where their pixels are compared.
PIXEL_SIDE = 32
_CHUNK = 512


@dataclass(frozen=True)
class Embedder:
    """How items become rows of numbers; a model file keeps it.

    Attributes:
        features: `values` (a table's numbers), `pixels`, or a backbone's name.
        network: a backbone without its last layer, or a network that was trained on the images.
        preprocessing: of images.
        shape: of the images whose pixels are compared: H, W, and 3 where they have colours.
        built: what builds a network again that is no backbone.
    """

    features: str
    network: nn.Module | None = None
    preprocessing: Preprocessing | None = None
    shape: tuple[int, ...] = ()
    built: dict[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, Any]:
        """What JSON can hold of it."""
        return {"features": self.features, "shape": list(self.shape), "network": self.built}


def resolve_features(settings: ClusterSettings, kind: Kind) -> str:
    """What `--features` means for this kind of data.

    Raises:
        SettingsError: it makes no sense for it.
    """
    if kind in (Kind.TABLE, Kind.POINTS):
        if settings.features not in (AUTO, VALUES):
            raise SettingsError(f"--features {settings.features}: these are {kind.value}, not pictures; leave it out")
        return VALUES
    if settings.method.is_deep:
        return PIXELS
    if settings.features == AUTO and kind is Kind.ARRAYS:
        return GRADIENTS if settings.method is Method.MANIFOLD else PIXELS
    if settings.features == AUTO:
        return DEFAULT_BACKBONE
    if settings.features == VALUES:
        raise SettingsError(f"--features {VALUES}: those of a table, but these are {kind.value}; leave it out")
    if settings.features == f"{AUTOENCODER}:":
        raise SettingsError(f"--features {settings.features}: name a model of dltool ae after the colon")
    return settings.features


def new_embedder(settings: ClusterSettings, source: Source) -> Embedder:
    """The embedder that the settings ask for.

    Raises:
        SettingsError: no such features, or not for this data.
        ModelError: weights cannot be had.
    """
    features = resolve_features(settings, source.kind)
    if features == VALUES:
        return Embedder(VALUES)
    if features in (PIXELS, GRADIENTS):
        return replace(pixel_embedder(settings, source), features=features)
    backbone = create_backbone(features, settings.weights, settings.seed, "--features")
    network, _, _ = remove_classifier(backbone, "--features")
    # The larger of the two sizes that suit a network trained on random crops; see `input_size`.
    preprocessing, _ = input_size(network, backbone.preprocessing, settings.size, multiscale=not settings.size)
    return Embedder(features, network, preprocessing)


def pixel_embedder(settings: ClusterSettings, source: Source, size: tuple[int, int] | None = None) -> Embedder:
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


def embed(
    embedder: Embedder, source: Source, device: torch.device, cache: Path | None, workers: int
) -> Iterator[Extracted | np.ndarray | TableFile]:
    """Yield progress and at the end the N × D rows, float32.

    Photos' features are means over each image and its mirror image.

    Raises:
        DataError: an image cannot be read, or rows of another width than the model's.
    """
    if embedder.features == VALUES:
        assert source.rows is not None
        yield source.rows
        return
    assert source.split is not None and embedder.preprocessing is not None
    if embedder.network is None:
        rows = pixel_rows(source.split, embedder, workers)
        yield gradient_rows(rows, embedder.shape, device) if embedder.features == GRADIENTS else rows
        return
    if embedder.built:
        from dltool.cluster.autoencoder_features import encode_new

        yield encode_new(embedder.network.to(device), source, embedder.preprocessing, device, workers)
        return
    reader = PixelReader(embedder.preprocessing)
    extractor = FeatureExtractor(embedder.network, embedder.preprocessing, device, cache=cache)
    views = []
    for flipped in (False, True):
        yield from extractor.fill(source.split, reader, workers, flipped)
        views.append(extractor.store(flipped).rows(source.split.hashes))
    yield torch.stack(views).mean(0).numpy()


def image_pixels(split: Split, preprocessing: Preprocessing, workers: int) -> np.ndarray:
    """N × H × W (grey) or N × H × W × 3 uint8 images of one size.

    Raises:
        DataError: an image cannot be read.
    """
    if isinstance(split, ArraySplit) and split.images.shape[1] == preprocessing.crop:
        return split.images
    reader = PixelReader(preprocessing)

    def read(index: int) -> np.ndarray:
        return preprocessing.crop_pixels(reader.read(split, index))

    images = []
    for _, pixels in read_ahead(range(len(split)), read, workers):
        if isinstance(pixels, DataError):
            raise pixels
        images.append(pixels)
    return np.stack(images)


def pixel_rows(split: Split, embedder: Embedder, workers: int) -> np.ndarray:
    """N × D pixels in [0, 1]; grey images for a model of grey ones."""
    images = fit_channels(image_pixels(split, embedder.preprocessing, workers), embedder.shape)
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


def fit_channels(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """N × H × W or N × H × W × 3 uint8 images as `shape` (H, W, or H, W, 3) has them.

    Raises:
        DataError: they are of another size.
    """
    if images.ndim == 4 and len(shape) == 2:
        images = np.rint(images.mean(3)).astype(np.uint8)
    elif images.ndim == 3 and len(shape) == 3:
        images = np.repeat(images[..., None], 3, axis=3)
    if images.shape[1:] != tuple(shape):
        found, wanted = (" × ".join(map(str, sides[:2])) for sides in (images.shape[1:], shape))
        raise DataError(f"pictures of {found} pixels, but the model groups those of {wanted}")
    return images


def embedder_tensors(embedder: Embedder) -> dict[str, Tensor]:
    """The network's tensors for the model file."""
    if embedder.network is None:
        return {}
    return {f"network.{name}": tensor for name, tensor in embedder.network.state_dict().items()}


def restore_embedder(
    arguments: dict[str, Any], preprocessing: Preprocessing | None, tensors: dict[str, Tensor], source: Path
) -> Embedder:
    """The embedder of a model file.

    Raises:
        ModelError: its description or tensors are damaged.
    """
    from dltool.training.model_file import restore_module

    features, shape = arguments.get("features"), tuple(arguments.get("shape") or ())
    if features == VALUES:
        return Embedder(VALUES)
    if preprocessing is None or not isinstance(features, str):
        raise ModelError(f"{source}: its description is damaged")
    if features in (PIXELS, GRADIENTS):
        return Embedder(features, None, preprocessing, shape)
    if arguments.get("network"):
        from dltool.cluster.autoencoder_features import restore_network

        network = restore_network(arguments["network"], tensors, source)
        return Embedder(features, network, preprocessing, shape, arguments["network"])
    backbone = create_backbone(features, "none")
    network, _, _ = remove_classifier(backbone)
    own = {name.removeprefix("network."): tensor for name, tensor in tensors.items() if name.startswith("network.")}
    restore_module(network, own, source)
    return Embedder(features, network.eval(), replace(preprocessing))
