"""Motifs: the patch of the painting that each patch of an image shall become like.

Every 3 × 3 patch of an image's features is matched with the most similar one of the painting (Li & Wand, "Combining
Markov Random Fields and Convolutional Neural Networks for Image Synthesis", CVPR 2016), both without their means
(Kolkin et al., "Neural Neighbor Style Transfer", 2022). Matched once at the start of a scale and not at every step,
the patches add up to a map of features that stays: the distance to it is a sum over positions, as the content's is.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dltool.images.tensors import pool_areas
from dltool.stylize.features import FeatureNetwork
from dltool.stylize.targets import StyleTargets, whole_features

LARGEST_SIDE = 1024  # matching costs the square of the area, and beyond there is only fine grain left to find
_PATCH = 3
_COMPARED = 1 << 24  # similarities in memory at once


@torch.no_grad()
def motif_maps(
    network: FeatureNetwork,
    image: Tensor,
    styles: Sequence[StyleTargets],
    masks: Sequence[Tensor | None],
    side: int,
    tile_side: int | None,
) -> dict[str, Tensor]:
    """Return for each content layer the features, 1 × C × h × w, that a 1 × 3 × H × W image shall come near to.

    Args:
        styles: of a blend every painting's patches are there to choose from, whatever the weights.
        masks: where each style goes, 1 × 1 × H × W in [0, 1], together 1 everywhere; None: everywhere.
        side: longest side of the paintings.
    """
    layers = network.content_layers
    own = whole_features(network, image, tile_side, layers)
    maps: dict[str, Tensor] = {}
    for targets, mask in zip(styles, masks, strict=True):
        known = [
            (whole_features(network, painting, tile_side, layers), opacity)
            for painting, opacity in targets.scaled(side, image.device)
        ]
        for name in layers:
            matched = _matched(own[name], [(maps[name], opacity) for maps, opacity in known])
            share = 1.0 if mask is None else pool_areas(mask.to(image.device), matched.shape[2:])
            maps[name] = maps.get(name, 0.0) + share * matched
    return maps


def _matched(own: Tensor, known: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
    """Features like `own`, of the most similar patches of the known features; where patches overlap, their mean."""
    paintings = torch.cat([_visible(_patches(maps.float()), maps, opacity) for maps, opacity in known])
    queries, mean = own.float() - own.float().mean((2, 3), keepdim=True), _channel_means(paintings)
    keys = F.normalize(paintings - mean)
    chunks = _patches(queries).split(max(1, _COMPARED // len(keys)))
    nearest = torch.cat([(chunk @ keys.T).argmax(1) for chunk in chunks])
    height, width = (length + _PATCH - 1 for length in own.shape[2:])
    sums = F.fold(paintings[nearest].T[None], (height, width), _PATCH)
    counts = F.fold(torch.ones_like(nearest, dtype=sums.dtype).expand(1, _PATCH**2, -1), (height, width), _PATCH)
    edge = _PATCH // 2
    return (sums / counts)[..., edge:-edge, edge:-edge]


def _patches(maps: Tensor) -> Tensor:
    """The patch around each position of 1 × C × H × W features, a row each, continued by its last row and column."""
    return F.unfold(F.pad(maps, (_PATCH // 2,) * 4, mode="replicate"), _PATCH)[0].T


def _visible(patches: Tensor, maps: Tensor, opacity: Tensor | None) -> Tensor:
    """The patches at positions that are seen at least half, or the one that is seen best."""
    if opacity is None:
        return patches
    seen = pool_areas(opacity, maps.shape[2:]).flatten()
    return patches[seen >= min(0.5, float(seen.max()))]


def _channel_means(patches: Tensor) -> Tensor:
    """The mean of each channel, as a row to subtract from patches."""
    return patches.mean(0).view(-1, _PATCH**2).mean(1).repeat_interleave(_PATCH**2)
