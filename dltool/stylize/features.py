"""The network that judges: which of its layers say what is in a picture, and which say how it is painted."""

from types import TracebackType

import torch
from torch import Tensor, nn

from dltool.backbones.fold import fold_batchnorm
from dltool.backbones.layers import resolve_layers, vgg_aliases
from dltool.backbones.registry import Backbone
from dltool.backbones.taps import Taps, require_tensors
from dltool.errors import SettingsError

_PROBE_SIZE = 64

# Chosen by measurement: benchmarks/stylize_defaults.py. Other networks get the last layer of every resolution.
_LITE0_STYLE = ("bn1", "blocks.0.0", "blocks.1.1", "blocks.2.1", "blocks.3.2", "blocks.4.2")
_LITE0_CONTENT = ("blocks.2.1",)
_VGG_STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
_VGG_CONTENT = ("relu4_2",)


class FeatureNetwork:
    """Context manager: a frozen backbone that gives the content and style layers' features of a picture.

    Attributes:
        content_layers, style_layers: the layers in use, under the names that the user gave or the defaults have.
    """

    def __init__(
        self,
        backbone: Backbone,
        device: torch.device,
        content_layers: tuple[str, ...] = (),
        style_layers: tuple[str, ...] = (),
        bf16: bool = False,
    ) -> None:
        """Fold, freeze and move the backbone.

        Raises:
            SettingsError: a layer does not exist, or the network has none that can be chosen by itself.
            ModelError: the weights file lacks a tensor that these layers need.
        """
        self._bf16 = bf16
        self._device = device
        self._preprocessing = backbone.preprocessing
        module = backbone.module.requires_grad_(False)
        default_content, default_style = default_layers(module)
        self.content_layers = content_layers or default_content
        self.style_layers = style_layers or default_style
        self._modules = resolve_layers(module, self.content_layers, "--content-layers")
        self._modules |= resolve_layers(module, self.style_layers, "--style-layers")
        names = list(dict.fromkeys(self._modules.values()))
        sample = torch.zeros(1, 3, _PROBE_SIZE, _PROBE_SIZE)
        require_tensors(module, backbone.missing, names, sample, backbone.weights)
        with torch.no_grad(), Taps(module, names) as taps:
            _check_maps(taps(sample), self._modules)
        folded = fold_batchnorm(module, sample, keep=set(names))
        self._module = folded.to(device, memory_format=torch.channels_last)
        self._taps = Taps(self._module, names)

    def __enter__(self) -> "FeatureNetwork":
        self._taps.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._taps.__exit__(kind, error, traceback)

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        """Return the layers' features by name, each 1 × C × h × w, of a 1 × 3 × H × W picture in [0, 1]."""
        # The picture stays contiguous (torch's L-BFGS views it as a vector); only what the network sees is permuted.
        normalized = self._preprocessing.normalize(image).to(memory_format=torch.channels_last)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            outputs = self._taps(normalized)
        return {name: outputs[module] for name, module in self._modules.items()}


def default_layers(module: nn.Module) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the content and the style layers that suit a network when the user names none.

    VGG has the literature's layers, EfficientNet-Lite0 measured ones; any other network gives its last layer at each
    resolution for style and the third of them for content.
    """
    if vgg_aliases(module):
        return _VGG_CONTENT, _VGG_STYLE
    names = {name for name, _ in module.named_modules()}
    if type(module).__name__ == "EfficientNet" and {"blocks.4.2.conv_pwl", "bn1.act"} <= names:
        return _LITE0_CONTENT, _LITE0_STYLE
    style = _last_of_each_resolution(module)[:5]
    if not style:
        raise SettingsError(
            "--style-layers: this network has no feature maps of several sizes to choose from; name its layers"
        )
    return (style[min(2, len(style) - 1)],), style


def _last_of_each_resolution(module: nn.Module) -> tuple[str, ...]:
    """Names of the last modules whose outputs are maps of each size that occurs, in the order of the pass."""
    last: dict[tuple[int, int], str] = {}

    def watch(name: str):
        def hook(_: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
                last[tuple(output.shape[2:])] = name

        return hook

    # The outermost containers (`features`) are left out: their output is their last layer's, under a name that
    # would run the whole network.
    inner = [(name, child) for name, child in module.named_modules() if name and name.count(".") <= 1]
    handles = [child.register_forward_hook(watch(name)) for name, child in inner]
    try:
        with torch.no_grad():
            module(torch.zeros(1, 3, 224, 224))
    finally:
        for handle in handles:
            handle.remove()
    return tuple(name for size, name in last.items() if size[0] < 224 or len(last) == 1)


def _check_maps(outputs: dict[str, Tensor], asked: dict[str, str]) -> None:
    for name, module in asked.items():
        if outputs[module].ndim != 4:
            shape = " × ".join(str(size) for size in outputs[module].shape)
            raise SettingsError(f"layer {name}: its output of shape {shape} is no feature map")
