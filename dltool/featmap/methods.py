"""Which pixels made the network decide: one door to every method."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dltool.events import mapped
from dltool.featmap import cam, gradients
from dltool.featmap.activations import without_rounding
from dltool.featmap.network import Network
from dltool.featmap.occlusion import occlusion
from dltool.featmap.settings import LAYER_METHODS, Method, WhySettings
from dltool.featmap.targets import Target
from dltool.featmap.work import Work

_WINDOWS_PER_SIDE = 8
_GRADIENT_TAIL = 0.99
_SMOOTHING = 0.01


@dataclass(frozen=True)
class Heat:
    """One method's map for one image and one target.

    Attributes:
        values: H × W float32 of the network's input size; larger speaks more for the target. Integrated gradients and
            occlusion are signed: what is negative speaks against it.
    """

    method: Method
    target: Target
    values: np.ndarray


def explain(
    network: Network, images: Tensor, targets: Sequence[Target], method: Method, settings: WhySettings, layer: str
) -> Generator[tuple[int, int], None, list[Heat]]:
    """Yield (done, total) of the passes and return the map of each image.

    Gradient and CAM methods take the whole batch at once; those that need many variants of an image take the
    images one by one, `settings.batch_size` variants at once, so that memory stays bounded.

    Args:
        images: normalised N × 3 × H × W.
        targets: one per image.
        layer: the module that the CAM methods look at.

    Raises:
        SettingsError: the method does not fit the network, or the layer gives no map.
    """
    if method in LAYER_METHODS:
        heat = yield from _layer_heat(network, images, targets, method, settings, layer)
    elif method is Method.SALIENCY:
        heat = gradients.saliency(network.module, images, targets)
    elif method is Method.GUIDED_BACKPROP:
        heat = gradients.guided_backprop(network, images, targets).abs().amax(1)
    else:
        heat = yield from _one_by_one(
            [_variants(network, image[None], target, method, settings) for image, target in _pairs(images, targets)]
        )
    values = heat.detach().float().cpu().numpy()
    return [Heat(method, target, value) for target, value in zip(targets, values, strict=True)]


def _layer_heat(
    network: Network, images: Tensor, targets: Sequence[Target], method: Method, settings: WhySettings, layer: str
) -> Work:
    activation, gradient = cam.activations_and_gradients(network.module, images, targets, layer)
    if method is Method.GRADCAM:
        heat = cam.gradcam(activation, gradient)
    elif method is Method.GRADCAM_PLUS_PLUS:
        heat = cam.gradcam_plus_plus(activation, gradient)
    elif method is Method.LAYERCAM:
        heat = cam.layercam(activation, gradient)
    elif method is Method.EIGENCAM:
        heat = cam.eigencam(activation)
    else:
        heat = yield from _one_by_one(
            [
                cam.scorecam(network, image[None], target, channels, settings.batch_size)
                for (image, target), channels in zip(_pairs(images, targets), activation, strict=True)
            ]
        )
    return cam.enlarge(heat, images.shape[2:])


def _variants(network: Network, image: Tensor, target: Target, method: Method, settings: WhySettings) -> Work:
    """The work of the methods that look at many variants of one image; it returns H × W."""
    module, batch_size = network.module, settings.batch_size
    if method is Method.SMOOTHGRAD:
        return (
            yield from gradients.smoothgrad(
                module, image, target, settings.samples, settings.noise, batch_size, settings.seed
            )
        )
    if method is Method.INTEGRATED_GRADIENTS:
        work = gradients.complete_integrated_gradients(module, image, target, settings.steps, batch_size)
        return (yield from work).sum(0)
    window = settings.window or max(1, network.size // _WINDOWS_PER_SIDE)
    return (yield from occlusion(module, image, target, window, batch_size))


def _one_by_one(works: list[Work]) -> Work:
    """Run the images' works after each other, with their steps counted through, and stack what they return."""
    results = []
    for number, work in enumerate(works):

        def counted(passes: tuple[int, int], before: int = number) -> tuple[int, int]:
            done, total = passes
            return before * total + done, len(works) * total

        results.append((yield from mapped(work, counted)))
    return torch.stack(results)


def _pairs(images: Tensor, targets: Sequence[Target]) -> list[tuple[Tensor, Target]]:
    return list(zip(images, targets, strict=True))


def for_display(heat: Heat) -> tuple[np.ndarray, float]:
    """Return what of a map speaks for the target, H × W from 0 on, and the number that colours should reach to.

    Gradients jump from pixel to pixel: their maps are smoothed by a hundredth of their side, and their 99th percentile
    is that number, because a few pixels would otherwise leave the rest dark. Scores and raw numbers are of the map
    itself. A map that is the same everywhere but for rounding points nowhere: it is 0.
    """
    values = heat.values.clip(min=0)
    if is_even(heat):
        return np.zeros_like(values), 0.0
    top = float(values.max())
    if heat.method not in LAYER_METHODS and heat.method is not Method.OCCLUSION:
        from scipy.ndimage import gaussian_filter

        values = gaussian_filter(values, _SMOOTHING * max(values.shape))
        top = float(np.quantile(values, _GRADIENT_TAIL) or values.max())
    return values, top


def is_even(heat: Heat) -> bool:
    """Whether a map's numbers differ by no more than rounding."""
    return bool(without_rounding(heat.values[None])[1][0])
