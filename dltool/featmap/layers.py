"""What layers a network has, seen in one real forward pass: shapes, weights, receptive fields."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isinf, log, sqrt

import torch
from torch import Tensor, nn

from dltool.backbones.layers import match_layers
from dltool.backbones.receptive import ReceptiveField, ReceptiveFields
from dltool.backbones.taps import require_tensors
from dltool.errors import SettingsError
from dltool.featmap.network import Network, fits_size, frozen

_MOST_PREFIX_TOKENS = 8
_NO_LAYER_OF_ITS_OWN = ("Dropout", "Identity", "Flatten", "Permute", "AdaptiveAvgPool2d", "StochasticDepth", "DropPath")
_PLAIN_NORMS = ("BatchNorm2d", "LayerNorm", "LayerNorm2d")
_FEWEST_BLOCKS = 4


class Kind(StrEnum):
    """What a layer's output is for one image."""

    MAP = "map"
    TOKENS = "tokens"
    VECTOR = "vector"
    ATTENTION = "attention"
    OTHER = "other"


@dataclass(frozen=True)
class Grid:
    """How an output lies on the image: its rows and columns, and the tokens (class, registers) before them."""

    height: int
    width: int
    prefix: int = 0
    channels_last: bool = False


@dataclass(frozen=True)
class LayerInfo:
    """One layer of a network, for one image of the size that was asked for.

    Attributes:
        type: the module's class.
        kind: what its output is.
        shapes: of its outputs without the batch dimension; several for a tuple.
        parameters: numbers in its weights, those of the layers inside it included.
        receptive_field: side in pixels of what one unit sees; infinite for the whole image, None if not known.
        stride: distance in pixels of neighbouring units; None for an output that is no map.
        order: place in the order in which the layers finish.
    """

    name: str
    type: str
    kind: Kind
    shapes: tuple[tuple[int, ...], ...]
    parameters: int
    receptive_field: float | None
    stride: float | None
    order: int

    @property
    def sees_all(self) -> bool:
        """Whether one unit sees the whole image."""
        return self.receptive_field is not None and isinf(self.receptive_field)


def list_layers(network: Network) -> list[LayerInfo]:
    """Every named module that runs in a forward pass of one image, in the order of definition.

    Raises:
        SettingsError: the network cannot take images of this size.
    """
    recorder = _Recorder(network)
    handles = [
        module.register_forward_hook(recorder.hook(name)) for name, module in network.module.named_modules() if name
    ]
    inputs = network.blank()
    try:
        with frozen(network.module), torch.no_grad(), fits_size(network), ReceptiveFields() as fields:
            network.module(inputs if network.takes_noise else fields.start(inputs))
    finally:
        for handle in handles:
            handle.remove()
    return [recorder.found[name] for name, _ in network.module.named_modules() if name in recorder.found]


class _Recorder:
    """Notes what comes out of every module."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._aspect = network.aspect_of(network.blank())
        self.found: dict[str, LayerInfo] = {}

    def hook(self, name: str):
        def record(module: nn.Module, inputs: object, output: object) -> None:
            tensors = _tensors(output)
            if not tensors:
                return
            shapes = tuple(tuple(tensor.shape[1:]) for tensor in tensors)
            single = isinstance(output, Tensor)
            kind, grid = classify(self._network.module, tensors[0], 1, self._aspect) if single else (Kind.OTHER, None)
            if is_attention(module) and classify(self._network.module, tensors[0])[0] is Kind.TOKENS:
                kind = Kind.ATTENTION
            field = ReceptiveFields.of(tensors[0])
            self.found.pop(name, None)
            self.found[name] = LayerInfo(
                name,
                type(module).__name__,
                kind,
                shapes,
                sum(parameter.numel() for parameter in module.parameters()),
                _size(field),
                _stride(field, grid, self._network.size),
                len(self.found),
            )

        return record


def _tensors(output: object) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    values = output.values() if isinstance(output, dict) else output if isinstance(output, list | tuple) else ()
    return [value for value in values if isinstance(value, Tensor)]


def _size(field: ReceptiveField | None) -> float | None:
    if field is None or not field.is_known:
        return None
    size = max(field.size)
    return size if size == inf else round(size)


def _stride(field: ReceptiveField | None, grid: Grid | None, size: int) -> float | None:
    if grid is None:
        return None
    if field is not None and field.is_known:
        return round(max(field.stride), 2)
    return round(size / grid.height, 2)


def is_attention(module: nn.Module) -> bool:
    """Whether `module` is self-attention whose weights can be read: torch's own, or timm's `Attention`."""
    if isinstance(module, nn.MultiheadAttention):
        return True
    return hasattr(module, "fused_attn") and isinstance(getattr(module, "attn_drop", None), nn.Dropout)


def classify(module: nn.Module, output: Tensor, batch: int = 1, aspect: float = 1.0) -> tuple[Kind, Grid | None]:
    """Tell what an output of `module`'s layer is for `batch` images of one shape, and how it lies on them.

    N × C × H × W and N × H × W × C are maps (told apart by which two sides are in the images' proportion), N × L × C
    whose tokens, after a few class or register tokens, fill a grid of that proportion are tokens, a single row per
    image is a vector.

    Args:
        aspect: the images' height over their width.
    """
    shape = output.shape
    if output.ndim < 2 or shape[0] != batch:
        return Kind.OTHER, None
    if output.ndim == 2 or output[0].numel() == shape[1]:
        return Kind.VECTOR, None
    if output.ndim == 4:
        first, last = (abs(log(shape[place] / shape[place + 1] / aspect)) for place in (2, 1))
        channels_last = last < first
        height, width = (shape[1], shape[2]) if channels_last else (shape[2], shape[3])
        if height * width == 1:
            return Kind.VECTOR, None
        return Kind.MAP, Grid(height, width, channels_last=channels_last)
    if output.ndim == 3:
        grid = _token_grid(module, shape[1], aspect)
        return (Kind.OTHER, None) if grid is None else (Kind.TOKENS, grid)
    return Kind.OTHER, None


def _token_grid(module: nn.Module, length: int, aspect: float) -> Grid | None:
    known = getattr(module, "num_prefix_tokens", 1 if hasattr(module, "class_token") else None)
    for prefix in range(_MOST_PREFIX_TOKENS) if known is None else (known, 0):
        height = round(sqrt(max(0, length - prefix) * aspect))
        width = round(height / aspect)
        if height > 1 and width > 1 and height * width == length - prefix:
            return Grid(height, width, prefix)
    return None


def default_layers(layers: Sequence[LayerInfo], count: int = 8) -> tuple[str, ...]:
    """A spread of up to `count` layers with maps or tokens from first to last, and a transformer's last attention.

    The layers are the network's blocks: plain chains (`Sequential`) are opened, parts of another type are not.
    """
    blocks = _open_chains(layers, _children(layers, ""))
    drawable = [layer for layer in _by_depth(blocks) if layer.parameters and layer.type not in _PLAIN_NORMS]
    if not drawable:  # a chain of dense layers, at most with a reshaping at its end
        vectors = [layer for layer in layers if layer.kind is Kind.VECTOR and layer.type == "Linear"]
        drawable = vectors or _by_depth(layers)
    if len(drawable) > count:
        drawable = [drawable[round(index * (len(drawable) - 1) / (count - 1))] for index in range(count)]
    names = [layer.name for layer in drawable]
    if any(layer.kind is Kind.TOKENS for layer in drawable):
        names += [layer.name for layer in layers if layer.kind is Kind.ATTENTION][-1:]
    return tuple(names)


def choose_layers(network: Network, layers: Sequence[LayerInfo], patterns: Sequence[str] = ()) -> dict[str, str]:
    """Layers to draw, as asked for and by the modules' own names; patterns match those that can be drawn.

    Args:
        layers: of the network.
        patterns: names and patterns; none for `default_layers`.

    Raises:
        SettingsError: no such layer, or the network has none with maps.
        ModelError: their weights are random because a file lacked them.
    """
    patterns = patterns or default_layers(layers)
    if not patterns:
        raise SettingsError("--layer: this network has no layer with maps; name one (see --list-layers)")
    drawable = [layer.name for layer in layers if layer.kind is not Kind.OTHER]
    chosen = match_layers(network.module, patterns, "--layer", drawable)
    require_weights(network, list(chosen.values()))
    return chosen


def filter_layers(network: Network, layers: Sequence[LayerInfo], patterns: Sequence[str]) -> list[LayerInfo]:
    """Those of the network's layers whose names match; all of them without patterns.

    Raises:
        SettingsError: a pattern matches none.
    """
    if not patterns:
        return list(layers)
    chosen = set(match_layers(network.module, patterns, "--layer", [layer.name for layer in layers]).values())
    return [layer for layer in layers if layer.name in chosen]


def _open_chains(layers: Sequence[LayerInfo], frontier: list[LayerInfo]) -> list[LayerInfo]:
    """Replace chains by what is in them, and, where that leaves too few layers to choose from, other parts as well."""
    while True:
        chains = [layer for layer in frontier if layer.type == "Sequential"]
        if not chains and sum(_is_drawable(layer) for layer in frontier) < _FEWEST_BLOCKS:
            chains = [layer for layer in frontier if _is_drawable(layer)]
        opened = {layer.name: _children(layers, layer.name) for layer in chains}
        if not any(opened.values()):
            return frontier
        frontier = [part for layer in frontier for part in opened.get(layer.name) or [layer]]


def _children(layers: Sequence[LayerInfo], name: str) -> list[LayerInfo]:
    """The layers directly inside `name` (the network itself: ""); a container that never runs is looked through."""
    inside = [layer for layer in layers if layer.name != name and layer.name.startswith(name and name + ".")]
    names = {layer.name for layer in inside}
    return [
        layer
        for layer in inside
        if not any(layer.name.startswith(other + ".") for other in names if other != layer.name)
    ]


def require_map(layers: Sequence[LayerInfo], name: str) -> None:
    """Check that the layer's output lies on the image, as the methods need that colour its activations.

    Raises:
        SettingsError: it does not; the message lists some that do, the last one first.
    """
    chosen = next((layer for layer in layers if layer.name == name), None)
    if chosen is None or chosen.kind not in (Kind.VECTOR, Kind.OTHER):
        return
    some = last_maps(layers) and ", ".join(default_layers(layers)[::-1])
    raise SettingsError(f"--layer {name}: its output is no map of the picture; layers that have one: {some}")


def last_maps(layers: Sequence[LayerInfo]) -> list[str]:
    """Layers that a class activation map can be drawn from, the last one first.

    Poolings and the like are left out, and queries, keys and values, which are no features of their token.

    Raises:
        SettingsError: the network has no layer with a map.
    """
    attention = tuple(f"{layer.name}." for layer in layers if layer.kind is Kind.ATTENTION)
    names = [
        layer.name
        for layer in _by_depth(layers)
        if layer.type not in _NO_LAYER_OF_ITS_OWN and not layer.name.startswith(attention)
    ]
    if not names:
        raise SettingsError("--method: the network has no layer with a map; try --method saliency or occlusion")
    return names[::-1]


def _by_depth(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """Layers with maps or tokens, in the order in which they finish."""
    return sorted((layer for layer in layers if _is_drawable(layer)), key=lambda layer: layer.order)


def _is_drawable(layer: LayerInfo) -> bool:
    return layer.kind in (Kind.MAP, Kind.TOKENS)


def require_weights(network: Network, layers: Sequence[str]) -> None:
    """Check that no tensor is random which these layers' outputs need.

    Raises:
        ModelError: the weights file lacked one; the message names it.
    """
    if network.missing:
        with frozen(network.module), fits_size(network):
            require_tensors(network.module, network.missing, layers, network.blank(), network.weights)


def layer_table(layers: Sequence[LayerInfo]) -> list[str]:
    """Lines of a table of layers: what each gives, and how much of the image one value of it sees."""
    head = ("layer", "type", "output", "parameters", "field", "stride")
    rows = [
        (
            layer.name,
            layer.type,
            " + ".join(" x ".join(map(str, shape)) or "1" for shape in layer.shapes),
            f"{layer.parameters:,}" if layer.parameters else "-",
            "all" if layer.sees_all else "?" if layer.receptive_field is None else f"{layer.receptive_field:g}",
            "-" if layer.stride is None else f"{layer.stride:g}",
        )
        for layer in layers
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = []
    for row in [head, *rows]:
        left = "  ".join(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=False))
        right = "  ".join(cell.rjust(width) for cell, width in zip(row[3:], widths[3:], strict=True))
        lines.append(f"{left}  {right}")
    return lines
