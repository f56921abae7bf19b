"""A contact sheet per cluster, from its centre out, and a page of centres."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dltool.cluster.autoencoder_codes import decode_centers
from dltool.cluster.clustering import Clustering
from dltool.cluster.features import PIXELS, Embedder
from dltool.cluster.grouping import Grouped
from dltool.cluster.settings import AUTOENCODER, count_of
from dltool.cluster.source import ClusterSource
from dltool.cluster.summary import from_center
from dltool.cluster.transform import Transform
from dltool.data.splits import FileSplit
from dltool.images.read import read_image
from dltool.images.sheet import Tile, contact_sheet
from dltool.images.write import write_image

_MOST_TILES = 60
_TILE = 144
_SMALL_TILE = 56


def write_sheets(folder: Path, source: ClusterSource, clustering: Clustering, most: int) -> Iterator[Path]:
    """Write `cluster-N.jpg` for each of the `most` largest clusters that holds something, and yield each path.

    Of a cluster of more than 60 images the sheet shows 60, evenly spread from the nearest to the furthest, and says
    so.

    Raises:
        DltoolError: an image cannot be read any more, or the sheet cannot be written.
    """
    for number in range(min(most, len(clustering.centers))):
        members = from_center(clustering, number)
        if not len(members):
            continue
        places = np.unique(np.linspace(0, len(members) - 1, min(len(members), _MOST_TILES)).round().astype(int))
        shown = members[places]
        some = "" if len(shown) == len(members) else f", {len(shown)} of them"
        tiles = [Tile(read_tile(source, index, _TILE), _label(source, index)) for index in shown.tolist()]
        side = _TILE if isinstance(source.split, FileSplit) else _SMALL_TILE
        columns = 10 if len(tiles) > 30 else max(6, math.ceil(math.sqrt(2 * len(tiles))))
        title = f"cluster {number}: {count_of(len(members), 'pictures')}{some}, from the centre out"
        path = folder / sheet_name(number)
        write_image(path, contact_sheet(tiles, columns, side, title))
        yield path


def sheet_name(number: int) -> str:
    """File name of a cluster's sheet."""
    return f"cluster-{number}.jpg"


def read_tile(source: ClusterSource, index: int, side: int) -> np.ndarray:
    """One image, H × W × 3 uint8, files reduced to no less than `side`."""
    if isinstance(source.split, FileSplit):
        return read_image(source.split.paths[index], shortest_side=side).pixels
    return source.split.read(index)


def _label(source: ClusterSource, index: int) -> str:
    return Path(source.item(index)).name if isinstance(source.split, FileSplit) else ""


def center_images(grouped: Grouped) -> list[np.ndarray] | None:
    """Each centre as an image, where a decoder drew it or pixels were compared; None elsewhere."""
    clustering = grouped.clustering
    if clustering.center_images is not None:
        return clustering.center_images
    if grouped.embedder is None or grouped.transform.normalize:
        return None
    if grouped.embedder.features == AUTOENCODER and grouped.transform.is_identity:
        return decode_centers(grouped.embedder.network, clustering.centers)
    if grouped.embedder.features != PIXELS:
        return None
    return _pixel_centers(clustering, grouped.transform, grouped.embedder)


def _pixel_centers(clustering: Clustering, transform: Transform, embedder: Embedder) -> list[np.ndarray]:
    centers = clustering.centers
    if transform.components is not None:
        centers = centers @ transform.components.T
    if transform.mean is not None:
        centers = centers + transform.mean
    pixels = (centers.clamp(0, 1) * 255).round().byte().numpy().reshape(-1, *embedder.shape)
    return list(pixels if pixels.ndim == 4 else np.repeat(pixels[..., None], 3, axis=3))


def write_centers(path: Path, images: list[np.ndarray], sizes: list[int]) -> None:
    """Write all centres on one page."""
    tiles = [Tile(image, f"{number}: {size}") for number, (image, size) in enumerate(zip(images, sizes, strict=True))]
    write_image(path, contact_sheet(tiles, 10, 112, "centres, and how many pictures they stand for"))
