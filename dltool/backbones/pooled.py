"""A classifier without its last layer: a function from images to features, at one size of images or at two."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dltool.backbones.preprocessing import Preprocessing
from dltool.backbones.registry import Backbone
from dltool.device import is_out_of_memory
from dltool.errors import ModelError, SettingsError

_LARGER = 9 / 7


class MultiScale(nn.Module):
    """Features of an image at its own size and at a smaller one, side by side."""

    def __init__(self, network: nn.Module, small: int) -> None:
        super().__init__()
        self.network = network
        self.small = small

    def forward(self, images: Tensor) -> Tensor:
        reduced = F.interpolate(images, (self.small, self.small), mode="bilinear", align_corners=False)
        return torch.cat([self.network(images), self.network(reduced)], dim=1)


def remove_classifier(backbone: Backbone, option: str = "--backbone") -> tuple[nn.Module, int, nn.Linear | None]:
    """Take the last layer off a network, in place: it then returns N × D features.

    The layer is found by a forward pass: it is the linear one whose output is the network's. In SqueezeNet, which
    classifies by convolution, it is what comes after `features`.

    `option` is what the network was chosen by, for the message.

    Returns:
        The network, D, and the removed layer (None for SqueezeNet).

    Raises:
        ModelError: the network has no such layer.
    """
    network = backbone.module
    if getattr(network, "aux_logits", False):  # GoogLeNet's and Inception's helpers in training, a second answer
        network.aux_logits = False
        for helper in ("aux1", "aux2", "AuxLogits"):
            if hasattr(network, helper):
                setattr(network, helper, None)
    side = backbone.preprocessing.crop
    last = _last_linear(network, torch.zeros(1, 3, side, side))
    if last is None:
        if not isinstance(getattr(network, "classifier", None), nn.Sequential) or not hasattr(network, "features"):
            raise ModelError(f"{option} {backbone.name}: its classification layer was not found")
        network.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        with torch.no_grad():
            return network, network(torch.zeros(1, 3, side, side)).shape[1], None
    layer = network.get_submodule(last)
    parent, _, leaf = last.rpartition(".")
    setattr(network.get_submodule(parent), leaf, nn.Identity())
    return network, layer.in_features, layer


def _last_linear(network: nn.Module, sample: Tensor) -> str | None:
    outputs: list[tuple[str, Tensor]] = []
    handles = [
        module.register_forward_hook(lambda _m, _i, output, name=name: outputs.append((name, output)))
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        with torch.no_grad():
            answer = network(sample)
    finally:
        for handle in handles:
            handle.remove()
    return next((name for name, output in reversed(outputs) if output is answer), None)


def input_size(network: nn.Module, own: Preprocessing, size: int, multiscale: bool) -> tuple[Preprocessing, int | None]:
    """Preprocessing for `size` (0: the weights' own), and the smaller of two sizes where `multiscale` is wanted.

    Networks trained on random crops see objects larger than test images show them, so that 9/7 of the training
    size suits them (Touvron et al., "Fixing the train-test resolution discrepancy", 2019); features at it and
    at the training size, side by side, were the most even over data sets. A network of one fixed size keeps it.

    Raises:
        SettingsError: the network cannot work at `size`.
    """
    if not multiscale:
        wanted = own.at_size(size) if size else own
        if size and not _accepts(network, size):
            raise SettingsError(f"--size {size}: this backbone cannot work at it; leave it out")
        return wanted, None
    large = size or round(own.crop * _LARGER / 32) * 32
    small = round(large / _LARGER)
    if not (_accepts(network, large) and _accepts(network, small)):
        return own, None
    return replace(own, crop=large, resize=own.resize + large - own.crop if large > own.crop else large), small


def _accepts(network: nn.Module, side: int) -> bool:
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 3, side, side))
    except (RuntimeError, AssertionError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        return False
    return True
