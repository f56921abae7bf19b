"""The published figures, FID and KID, by torch-fidelity's own Inception, resizing and formulas (`dltool[fid]`).

Figures of papers compare only where network, weights and resizing are these. The network is TensorFlow's Inception of
2015 with the weights that `pytorch-fid` and `torch-fidelity` share, at 299 × 299 pixels, enlarged as TensorFlow 1 did.
"""

import tempfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from dltool.backbones.weights import read_tensors
from dltool.device import memory_errors
from dltool.errors import DltoolError, ModelError
from dltool.gan.features import Extracted
from dltool.images.read import read_image

_LAYER = "2048"
_BATCH = 64
# Of the subsets that torch-fidelity takes the mean of; fewer images have no KID of its kind.
_SUBSET = 1000

Source = Tensor | Sequence[Path]


@dataclass(frozen=True)
class StandardFigures:
    """FID, and the mean and standard deviation of KID over 100 subsets of 1000 images, None with fewer.

    Attributes:
        features: length of the features; with no more images of a side than that the FID says little.
    """

    fid: float
    kid: float | None
    kid_std: float | None
    features: int


def measure_standard(
    made: Source, real: Source, weights: str, device: torch.device
) -> Generator[Extracted, None, StandardFigures]:
    """Compare images, N × C × H × W uint8 or files that are seen whole; yield progress and return the figures.

    Args:
        weights: `default`, which torch-fidelity downloads once, or a file of them (.pth or .safetensors).

    Raises:
        DltoolError: the package is missing.
        ModelError: the weights cannot be had, or are others.
    """
    try:
        from torch_fidelity import metric_fid, metric_kid
    except ImportError:
        raise DltoolError("--fid-weights: needs the package torch-fidelity: pip install 'dltool[fid]'") from None
    network = _inception(weights).to(device)
    total = len(made) + len(real)
    first = yield from _features(network, made, device, 0, total)
    second = yield from _features(network, real, device, len(made), total)
    statistics = [metric_fid.fid_features_to_statistics(features) for features in (first, second)]
    fid = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)[metric_fid.KEY_METRIC_FID]
    kid: dict[str, float] = {}
    if min(len(first), len(second)) >= _SUBSET:
        kid = metric_kid.kid_features_to_metric(first, second, kid_subset_size=_SUBSET, verbose=False)
    names = metric_kid.KEY_METRIC_KID_MEAN, metric_kid.KEY_METRIC_KID_STD
    return StandardFigures(fid, *(kid.get(name) for name in names), first.shape[1])


def _inception(weights: str) -> torch.nn.Module:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    with tempfile.NamedTemporaryFile(suffix=".pth") as checked:
        path = None
        if weights != "default":  # the package unpickles whatever it is given, so it gets tensors that were read safely
            path = checked.name
            torch.save(read_tensors(weights), path)
        try:
            return FeatureExtractorInceptionV3("inception-v3-compat", [_LAYER], feature_extractor_weights_path=path)
        except (URLError, OSError) as error:
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            raise ModelError(
                f"--fid-weights default: cannot be downloaded ({error}); put weights-inception-2015-12-05-6726825d.pth "
                f"into {folder}, or name a file"
            ) from error
        except RuntimeError as error:
            raise ModelError(f"--fid-weights {weights}: not the weights of torch-fidelity's Inception") from error


@torch.no_grad()
def _features(
    network: torch.nn.Module, source: Source, device: torch.device, done: int, total: int
) -> Generator[Extracted, None, Tensor]:
    found = []
    with memory_errors("try --device cpu"):
        for batch in _batches(source):
            images = batch.expand(-1, 3, -1, -1) if batch.shape[1] == 1 else batch
            found.append(network(images.to(device))[0].cpu())
            done += len(images)
            yield Extracted(done, total)
    return torch.cat(found)


def _batches(source: Source) -> Iterator[Tensor]:
    """N × C × H × W uint8, of files each as many as follow each other with one size."""
    if isinstance(source, Tensor):
        yield from source.split(_BATCH)
        return
    waiting: list[Tensor] = []
    for path in source:
        image = torch.from_numpy(read_image(path).pixels.copy()).permute(2, 0, 1)
        if waiting and (len(waiting) == _BATCH or waiting[0].shape != image.shape):
            yield torch.stack(waiting)
            waiting = []
        waiting.append(image)
    yield torch.stack(waiting)
