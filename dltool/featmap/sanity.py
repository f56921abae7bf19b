"""Does a map depend on what the network has learnt? Its weights are made random, layer by layer, and it is drawn again.

Adebayo et al., "Sanity Checks for Saliency Maps" (NeurIPS 2018), cascading randomization: from the last layer on, more
and more layers lose what they learnt. A map that stays as it was shows the image's edges, not the network's reasons.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from dltool.events import mapped
from dltool.featmap.layers import LayerInfo
from dltool.featmap.methods import Heat, explain
from dltool.featmap.network import Network
from dltool.featmap.settings import Method, WhySettings
from dltool.featmap.targets import Target
from dltool.training.seeds import new_generator

_STAGES = 5


@dataclass(frozen=True)
class SanityStage:
    """A map while the layers from `layer` on to the last are random.

    Attributes:
        values: H × W, or N such maps.
        correlation: Spearman's, with the map of the trained weights; from -1 to 1, near 0 where it depends on them.
    """

    layer: str
    values: np.ndarray
    correlation: float = float("nan")


def stages_of(module: nn.Module, layers: Sequence[LayerInfo], count: int = _STAGES) -> list[list[str]]:
    """Layers with weights of their own, from the last to the first that runs, in `count` parts; the first is the last
    layer alone."""
    own = {name for name, layer in module.named_modules() if next(layer.parameters(recurse=False), None) is not None}
    names = [layer.name for layer in sorted(layers, key=lambda layer: -layer.order) if layer.name in own]
    rest = names[1:]
    ends = [round(len(rest) * part / (count - 1)) for part in range(count)]
    return [part for part in (names[:1], *(rest[a:b] for a, b in pairwise(ends))) if part]


@contextmanager
def shuffling(module: nn.Module, seed: int) -> Iterator["_Shuffle"]:
    """Give a function that makes layers random; all weights are as they were when the context ends."""
    kept = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    try:
        yield _Shuffle(module, seed)
    finally:
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(kept[name])


class _Shuffle:
    def __init__(self, module: nn.Module, seed: int) -> None:
        self._module, self._seed = module, seed

    def __call__(self, layer: str) -> None:
        """Bring each of the layer's own tensors in a random order: what it learnt is gone, its scale is not."""
        with torch.no_grad():
            for name, parameter in self._module.get_submodule(layer).named_parameters(recurse=False):
                order = torch.randperm(parameter.numel(), generator=new_generator(layer, name, self._seed))
                parameter.copy_(parameter.flatten()[order.to(parameter.device)].view_as(parameter))


def randomized_maps(
    network: Network,
    layers: Sequence[LayerInfo],
    asked: tuple[Tensor, list[Target], Method],
    settings: WhySettings,
    layer: str,
) -> Generator[tuple[int, int], None, list[SanityStage]]:
    """Yield (done, total) of each stage's passes and return the maps of all inputs at every stage.

    Args:
        layers: of the network.
        asked: inputs, targets and method, as `explain` takes them.
        layer: that the CAM methods look at.
    """
    found = []
    with shuffling(network.module, settings.seed) as shuffle:
        for names in stages_of(network.module, layers):
            for name in names:
                shuffle(name)
            heats: list[Heat] = yield from mapped(explain(network, *asked, settings, layer), lambda passes: passes)
            found.append(SanityStage(names[-1], np.stack([heat.values for heat in heats])))
    return found


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's correlation of two maps; 0 where one is the same everywhere."""
    from scipy.stats import rankdata

    ranks = [rankdata(values.ravel()) for values in (first, second)]
    if any(rank.std() == 0 for rank in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])
