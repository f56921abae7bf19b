"""Class activation maps: a layer's channels, weighted by what they mean for the answer."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dltool.backbones.taps import Taps
from dltool.errors import SettingsError
from dltool.featmap.activations import lay_out
from dltool.featmap.layers import LayerInfo, last_maps
from dltool.featmap.network import Network, frozen
from dltool.featmap.targets import Target, scores
from dltool.featmap.work import Work

_CANDIDATES = 40


def activations_and_gradients(
    module: nn.Module, images: Tensor, targets: Sequence[Target], layer: str
) -> tuple[Tensor, Tensor]:
    """Return a layer's output and the gradient of each image's score with respect to it, both N × C × h × w.

    Raises:
        SettingsError: the layer's output is no map, or the answer does not depend on it.
    """
    with frozen(module), torch.enable_grad(), Taps(module, [layer, ""]) as taps:
        outputs = taps(images.detach().requires_grad_())
        total = scores(outputs[""], targets).sum()
        gradient = torch.autograd.grad(total, outputs[layer], allow_unused=True)[0]
    if gradient is None:
        raise SettingsError(f"--layer {layer}: the network's answer does not depend on its output")
    aspect = images.shape[2] / images.shape[3]
    laid = [lay_out(module, one, layer, len(images), aspect)[1] for one in (outputs[layer].detach(), gradient)]
    return laid[0], laid[1]


def gradcam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Return ReLU(Σ_k w_k A_k), w_k the mean gradient of channel k, as N × h × w (Selvaraju et al., ICCV 2017)."""
    return (gradient.mean((2, 3), keepdim=True) * activation).sum(1).relu()


def gradcam_plus_plus(activation: Tensor, gradient: Tensor) -> Tensor:
    """Return Grad-CAM++, N × h × w (Chattopadhay et al., WACV 2018).

    The channel weights are Σ_ij α_ij ReLU(g_ij) with α = g² / (2 g² + Σ_ab A_ab g³), where the score is taken
    through an exponential, so that higher derivatives are powers of the first.
    """
    denominator = 2 * gradient.square() + activation.sum((2, 3), keepdim=True) * gradient.pow(3)
    alpha = torch.where(denominator == 0, 0.0, gradient.square() / denominator)
    weights = (alpha * gradient.relu()).sum((2, 3), keepdim=True)
    return (weights * activation).sum(1).relu()


def layercam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Return ReLU(Σ_k ReLU(g_k) ⊙ A_k), N × h × w: each position with its own weight (Jiang et al., TIP 2021)."""
    return (gradient.relu() * activation).sum(1).relu()


def eigencam(activation: Tensor) -> Tensor:
    """Return the layer's first principal component, N × h × w (Muhammad & Yeasin, IJCNN 2020); no class goes in.

    It is the projection of each position's channels on the first right singular vector, uncentred, whose sign is
    chosen so that most of the map is positive; the negative rest is 0.
    """
    rows = activation.flatten(2).transpose(1, 2).float()  # N × positions × C
    # The first left singular vector times its value equals the projection; positions² is the smaller product.
    values, vectors = torch.linalg.eigh(rows @ rows.transpose(1, 2))
    projected = vectors[..., -1] * values[..., -1:].clamp_min(0).sqrt()
    sign = torch.where(projected.sum(1, keepdim=True) < 0, -1.0, 1.0)
    return (sign * projected).relu().view(len(activation), *activation.shape[2:])


def scorecam(network: Network, image: Tensor, target: Target, activation: Tensor, batch_size: int) -> Work:
    """Return Score-CAM, h × w (Wang et al., CVPR-W 2020): channels weighted by the answer when only they are shown.

    Each channel, enlarged and brought to [0, 1], masks the image; its weight is the target's probability then (as
    in the authors' code). No gradient is needed, but a forward pass for each channel that is not constant.

    Args:
        image: normalised 1 × 3 × H × W.
        activation: the layer's output, C × h × w.
    """
    low, high = activation.amin((1, 2)), activation.amax((1, 2))
    alive = (high > low).nonzero().flatten()
    heat = torch.zeros_like(activation[0])
    with frozen(network.module), torch.no_grad():
        for start in range(0, len(alive), batch_size):
            chosen = alive[start : start + batch_size]
            masks = (activation[chosen] - low[chosen, None, None]) / (high - low)[chosen, None, None]
            masks = F.interpolate(masks[:, None], image.shape[2:], mode="bilinear", align_corners=False)
            weights = probability(network.module(image * masks), [target] * len(chosen))
            heat += (weights[:, None, None] * activation[chosen]).sum(0)
            yield min(start + batch_size, len(alive)), len(alive)
    return heat.relu()


def probability(logits: Tensor, targets: Sequence[Target]) -> Tensor:
    """Return each row's probability of its target, less that of the class it is against."""
    return scores(logits.softmax(1), targets)


def choose_layer(network: Network, layers: Sequence[LayerInfo], images: Tensor, targets: Sequence[Target]) -> str:
    """Return the last layer with a map on whose positions the answer depends.

    In a vision transformer that is not the last one: behind the last attention only the class token is read, so that
    the gradient of the patches' tokens is 0 there.

    Args:
        images: normalised, the first is looked at.

    Raises:
        SettingsError: the network has no layer with a map.
    """
    names = last_maps(layers)[:_CANDIDATES]
    module = network.module
    with frozen(module), torch.enable_grad(), Taps(module, [*names, ""]) as taps:
        outputs = taps(images[:1].detach().requires_grad_())
        total = scores(outputs[""], targets[:1]).sum()
        gradients = torch.autograd.grad(total, [outputs[name] for name in names], allow_unused=True)
        for name, gradient in zip(names, gradients, strict=True):
            if gradient is not None and lay_out(module, gradient, name, 1, network.aspect_of(images))[1].any():
                return name
    return names[0]


def enlarge(heat: Tensor, size: tuple[int, int]) -> Tensor:
    """Return N × h × w heat maps at the image's size, bilinear."""
    return F.interpolate(heat[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]
