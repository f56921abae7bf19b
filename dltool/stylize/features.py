"""The network that judges: which of its layers say what is in an image, and which say how it is painted."""

from dataclasses import replace
from functools import cached_property
from types import TracebackType

import torch
from torch import Tensor, nn

from dltool.backbones.fold import fold_batchnorm
from dltool.backbones.layers import resolve_layers, vgg_aliases
from dltool.backbones.registry import Backbone
from dltool.backbones.taps import Taps, require_tensors
from dltool.device import is_out_of_memory, use_bf16
from dltool.errors import SettingsError
from dltool.settings import Precision
from dltool.stylize.geometry import Geometry, average_pools, measure_geometry
from dltool.stylize.settings import NetworkSettings, Pooling, StylizeSettings
from dltool.stylize.tiles import tiles_agree

# Chosen by measurement: benchmarks/stylize_quality.py. Other networks get the last layer of every resolution.
_LITE0_STYLE = (
    *("bn1", "blocks.0.0", "blocks.1.0", "blocks.1.1", "blocks.2.0"),
    *("blocks.2.1", "blocks.3.0", "blocks.3.2", "blocks.4.0", "blocks.4.2"),
)
_LITE0_CONTENT = ("blocks.2.1",)
_VGG_STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
_VGG_CONTENT = ("relu4_2",)
_TRANSIENT = 1.5  # measured: the peak over what autograd keeps (gradients on the way, copies in other memory orders)


class FeatureNetwork:
    """Context manager: a frozen backbone that gives the content and style layers' features of an image.

    Attributes:
        content_layers, style_layers: the layers in use, under the names that the user gave or the defaults have.
        bf16: whether the network runs in bfloat16; losses are summed in float32 all the same.
    """

    def __init__(
        self,
        backbone: Backbone,
        device: torch.device,
        content_layers: tuple[str, ...] = (),
        style_layers: tuple[str, ...] = (),
        bf16: bool | None = False,
        pooling: Pooling = Pooling.MAX,
        pixel_mean: tuple[float, ...] | None = None,
        pixel_std: tuple[float, ...] | None = None,
    ) -> None:
        """Fold, freeze and move the backbone.

        Args:
            bf16: None takes bfloat16 where `gains_by_bf16` says so.
            pooling: `avg` turns every max pooling into an average of the same windows.
            pixel_mean, pixel_std: the network sees (x - mean) / std; None for what belongs to its weights.

        Raises:
            SettingsError: a layer does not exist, or the network has none that can be chosen by itself.
            ModelError: the weights file lacks a tensor that these layers need.
        """
        module = backbone.module.requires_grad_(False)
        if pooling is Pooling.AVG:
            module = average_pools(module)
        self.bf16 = gains_by_bf16(module, device) if bf16 is None else bf16
        self._device = device
        own = backbone.preprocessing
        self._preprocessing = replace(own, mean=pixel_mean or own.mean, std=pixel_std or own.std)
        if not (content_layers and style_layers):
            default_content, default_style = default_layers(module)
        self.content_layers = content_layers or default_content
        self.style_layers = style_layers or default_style
        self._modules = {}
        for kind, layers in (("content", self.content_layers), ("style", self.style_layers)):
            try:
                self._modules |= resolve_layers(module, layers, f"--{kind}-layers")
            except SettingsError as error:
                raise SettingsError(f"{error}{_say_defaults(module, kind)}") from error
        names = list(dict.fromkeys(self._modules.values()))
        crop = backbone.preprocessing.crop
        sample = torch.rand(1, 3, crop, crop, generator=torch.Generator().manual_seed(0))
        require_tensors(module, backbone.missing, names, sample, backbone.weights)
        _check_maps(module, sample, self._modules)
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
        """Return the layers' features by name, each N × C × h × w, of N × 3 × H × W images in [0, 1]."""
        # The image stays contiguous (torch's L-BFGS views it as a vector); only what the network sees is permuted.
        normalized = self._preprocessing.normalize(image).to(memory_format=torch.channels_last)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self.bf16):
            outputs = self._taps(normalized)
        return {name: outputs[module] for name, module in self._modules.items()}

    @cached_property
    def geometry(self) -> Geometry:
        """How the layers' features lie over the image's pixels, measured once when it is first asked for."""
        return measure_geometry(self._module, self._modules)

    @cached_property
    def tiles_agree(self) -> bool:
        """Whether the features of tiles are those of the whole image; see `tiles.tiles_agree`."""
        return tiles_agree(self, self.geometry, self._device)

    @cached_property
    def bytes_per_pixel(self) -> float:
        """What one pixel costs while its gradient is computed: activations kept for the way back, and a margin."""
        side = 256
        kept: dict[int, int] = {}
        weights = {parameter.untyped_storage().data_ptr() for parameter in self._module.parameters()}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor.detach()  # an operation that keeps its own result would keep itself, forever

        image = torch.zeros(1, 3, side, side, device=self._device, requires_grad=True)
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            features = self(image)
        del features
        return _TRANSIENT * sum(kept.values()) / side**2


def feature_network(
    backbone: Backbone, choice: NetworkSettings, settings: StylizeSettings, device: torch.device
) -> FeatureNetwork:
    """Let a backbone judge as the settings want it to; raises what `FeatureNetwork` does."""
    return FeatureNetwork(
        backbone,
        device,
        settings.content_layers,
        settings.style_layers,
        None if choice.precision is Precision.AUTO else choice.precision is Precision.BF16,
        choice.pooling,
        choice.pixel_mean,
        choice.pixel_std,
    )


def gains_by_bf16(module: nn.Module, device: torch.device) -> bool:
    """Whether bfloat16 is faster here at equal results, by `benchmarks/stylize_speed.py`.

    On a CPU with bf16 arithmetic it is for dense convolutions (VGG: 1.6 times, the loss within 1 %), and is not for
    networks of depthwise ones, which wait for memory. On GPUs nothing has been measured yet; cards that compute
    bfloat16 are taken to be like those CPUs.
    """
    dense = all(layer.groups == 1 for layer in module.modules() if isinstance(layer, nn.Conv2d))
    return dense and use_bf16("auto", device, cpu_gains=True)


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
    if len(style) < 2:
        raise SettingsError(
            "--style-layers: this network has no feature maps of several sizes to choose from; name its layers"
        )
    return (style[min(2, len(style) - 1)],), style


def _say_defaults(module: nn.Module, kind: str) -> str:
    """What to say beside an unknown layer: those that are taken unasked, and where all of them are listed."""
    where = "`dltool featmap --list-layers` lists them all"
    try:
        content, style = default_layers(module)
    except SettingsError:  # a network that has none
        return f"; {where}"
    return f"; the default is {','.join(content if kind == 'content' else style)}; {where}"


def _last_of_each_resolution(module: nn.Module) -> tuple[str, ...]:
    """Names of the last modules whose outputs are maps of each size that occurs, in the order of the pass."""
    last: dict[tuple[int, int], str] = {}

    def watch(name: str):
        def hook(_: nn.Module, inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and min(output.shape[2:]) > 1:
                last[tuple(output.shape[2:])] = name

        return hook

    # Blocks, not the layers inside them; an adaptive pool's map has the same size whatever the image's.
    inner = [
        (name, child)
        for name, child in module.named_modules()
        if name and name.count(".") <= 1 and not isinstance(child, nn.AdaptiveAvgPool2d)
    ]
    handles = [child.register_forward_hook(watch(name)) for name, child in inner]
    try:
        with torch.no_grad():
            module(torch.zeros(1, 3, 224, 224))
    finally:
        for handle in handles:
            handle.remove()
    return tuple(name for size, name in last.items() if size[0] < 224)


def _check_maps(module: nn.Module, sample: Tensor, asked: dict[str, str]) -> None:
    with torch.no_grad(), Taps(module, list(asked.values())) as taps:
        outputs = taps(sample)
        for name, layer in asked.items():
            if outputs[layer].ndim != 4:
                shape = " × ".join(str(size) for size in outputs[layer].shape)
                raise SettingsError(f"layer {name}: its output of shape {shape} is no feature map")
        try:
            halves = taps(sample[..., : sample.shape[-1] // 2])
        except (RuntimeError, AssertionError) as error:
            if is_out_of_memory(error):
                raise
            side = sample.shape[-1]
            raise SettingsError(f"--backbone: this network takes pictures of {side} x {side} pixels only") from error
        for name, layer in asked.items():
            if (
                halves[layer].shape[1] != outputs[layer].shape[1]
                or halves[layer].shape[3] == outputs[layer].shape[3] > 1
            ):
                raise SettingsError(f"layer {name}: its maps have the channels last, which stylize does not read")
