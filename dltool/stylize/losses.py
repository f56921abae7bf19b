"""The losses of Gatys et al., "Image Style Transfer Using Convolutional Neural Networks" (CVPR 2016), normalised."""

import torch
from torch import Tensor


def gram_matrix(features: Tensor) -> Tensor:
    """Return the second moments of the channels, G = F Fᵀ / (H·W), as C × C for 1 × C × H × W features.

    Dividing by the number of positions makes the style of a small image comparable with that of a large one.
    """
    return gram_sum(features)[0] / features.shape[2:].numel()


def gram_sum(features: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return F Fᵀ, as N × C × C for N × C × H × W features, each position weighted by a 1 × 1 × H × W `mask`.

    Sums over the parts of an image add up to the sum over the whole. The product runs in float32 whatever the
    features' type: bf16 sums over 10⁵ positions lose the small entries.
    """
    # Positions first: features in channels_last memory are read as they lie.
    by_position = features.permute(0, 2, 3, 1).flatten(1, 2).float()
    weighted = by_position if mask is None else by_position * mask.reshape(-1, 1)
    if len(features) == 1:  # the batched product and its gradient take 1.3 times as long on a CPU
        return (weighted[0].T @ by_position[0])[None]
    return weighted.mT @ by_position


def relative_distance(value: Tensor, target: Tensor) -> Tensor:
    """Return ‖value - target‖² / ‖target‖²: 0 when equal, about 1 for an unrelated target, at any size and scale.

    A target without any energy (a black image in a dead layer) divides by a tiny constant instead of zero.
    """
    return squared_distances(value[None], target[None])[0] / energies(target[None])[0]


def squared_distances(values: Tensor, targets: Tensor) -> Tensor:
    """Return ‖value - target‖² of N values and N targets, or one for all of them, summed in float32."""
    return squares(values.float() - targets.float())


def energies(targets: Tensor) -> Tensor:
    """Return ‖target‖² of N targets, and a tiny constant where that is zero, so that it can be divided by."""
    return squares(targets.float()).clamp_min(1e-8)


def squares(values: Tensor) -> Tensor:
    """Return ‖value‖² of each of N values."""
    return values.square().flatten(1).sum(1)


def total_variation(image: Tensor) -> Tensor:
    """Return the mean squared difference of neighbouring pixels of a 1 × 3 × H × W image; 0 for a single pixel."""
    terms = [
        difference.square().mean()
        for difference in (image[..., 1:, :] - image[..., :-1, :], image[..., 1:] - image[..., :-1])
        if difference.numel()
    ]
    return torch.stack(terms).sum() if terms else image.sum() * 0


def range_penalty(image: Tensor) -> Tensor:
    """Return the mean squared distance of the pixels to [0, 1].

    It keeps pixels in range by a smooth force. Clamping between the steps instead would make L-BFGS's differences of
    gradients belong to points that it never asked for.
    """
    return (image - image.clamp(0, 1)).square().mean()
