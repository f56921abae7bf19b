"""A classifier without its last layer: pictures to pooled features."""

import torch
from torch import Tensor, nn

from dltool.backbones.registry import Backbone
from dltool.errors import ModelError


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
