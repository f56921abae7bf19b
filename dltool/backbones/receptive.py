"""Receptive fields: how many pixels of the image one unit of a layer looks at, followed through a real forward pass.

A layer that looks at a window of `kernel` units, `dilation` apart, whose neighbours lie `stride` pixels apart in the
image, sees (kernel - 1) · dilation · stride pixels more than its input does (Araujo, Norris & Sim, "Computing
Receptive Fields of Convolutional Neural Networks", Distill 2019). Convolutions and poolings are seen where they run,
functional ones included, so that no network has to be known by its structure.
"""

from dataclasses import dataclass
from math import inf, isnan, nan
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_ATTRIBUTE = "_dltool_receptive_field"
_REDUCTIONS = ("mean.dim", "sum.dim_IntList", "amax", "amin", "max.dim")
_RESHAPES = ("view", "_unsafe_view", "reshape", "_reshape_alias")


@dataclass(frozen=True)
class ReceptiveField:
    """What one unit sees of the image, in pixels, down and across.

    Attributes:
        size: infinite when it sees the whole image, NaN when that is not known (attention inside windows).
        stride: distance of two neighbouring units' centres.
    """

    size: tuple[float, float] = (1.0, 1.0)
    stride: tuple[float, float] = (1.0, 1.0)

    @property
    def is_known(self) -> bool:
        """Whether the size is a number of pixels or infinite."""
        return not any(isnan(size) for size in self.size)


class ReceptiveFields(TorchDispatchMode):
    """Context manager: tensors computed inside it, from an image given to `start`, carry their receptive field.

    Squeeze-and-excitation gates, one factor for a whole channel, are left out, as is usual: strictly every unit
    behind one depends on the whole image.
    """

    def start(self, images: Tensor) -> Tensor:
        """Mark N × 3 × H × W `images` as the image itself."""
        setattr(images, _ATTRIBUTE, ReceptiveField())
        return images

    @staticmethod
    def of(tensor: Tensor) -> ReceptiveField | None:
        """The field of one unit of `tensor`, or None for a tensor that depends on no image."""
        return getattr(tensor, _ATTRIBUTE, None)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        field = _propagate(func, args, output)
        if field is not None:
            for tensor in output if isinstance(output, tuple | list) else [output]:
                if isinstance(tensor, Tensor):
                    setattr(tensor, _ATTRIBUTE, field)
        return output


def _propagate(func: Any, args: Any, output: Any) -> ReceptiveField | None:
    sources = [tensor for tensor in _tensors(args) if ReceptiveFields.of(tensor) is not None]
    if not sources:
        return None
    name = func.__name__.removesuffix(".default")
    field = _union(sources)
    source = sources[0]
    if name == "convolution":
        return _convolve(field, args[1].shape[2:], args[3], args[5], transposed=args[6])
    if name.startswith(("max_pool2d", "avg_pool2d")):
        kernel = _pair(args[1])
        stride = _pair(args[2]) if len(args) > 2 and args[2] else kernel
        return _convolve(field, kernel, stride, (1, 1))
    if name.startswith("_adaptive_avg_pool2d") or name.startswith("adaptive_max_pool2d"):
        result = output[0] if isinstance(output, tuple) else output
        return _pool_to(field, source.shape[-2:], result.shape[-2:])
    if name.startswith("upsample"):
        ratios = [before / after for before, after in zip(source.shape[-2:], output.shape[-2:], strict=True)]
        return ReceptiveField(field.size, (field.stride[0] * ratios[0], field.stride[1] * ratios[1]))
    if _mixes_all_positions(name, args, source, output):
        return ReceptiveField((inf, inf), field.stride)
    if _is_attention(name, sources):
        # Attention over one sequence per image sees everything; over several, windows of unknown place.
        size = inf if name != "bmm" and source.shape[0] == 1 else nan
        return ReceptiveField((size, size), field.stride)
    return field


def _union(sources: list[Tensor]) -> ReceptiveField:
    """The field of what combines several tensors: the largest. Gates (1 × 1 beside a map) are left out."""
    maps = [tensor for tensor in sources if tensor.ndim < 4 or tensor.shape[-1] * tensor.shape[-2] > 1]
    fields = [ReceptiveFields.of(tensor) for tensor in maps or sources]
    if any(not field.is_known for field in fields):
        size = (nan, nan)
    else:
        size = max(field.size[0] for field in fields), max(field.size[1] for field in fields)
    return ReceptiveField(size, (max(field.stride[0] for field in fields), max(field.stride[1] for field in fields)))


def _convolve(
    field: ReceptiveField, kernel: Any, stride: Any, dilation: Any, transposed: bool = False
) -> ReceptiveField:
    if len(kernel) != 2:
        return field
    size, steps = [], []
    for axis in range(2):
        step = field.stride[axis] / stride[axis] if transposed else field.stride[axis]
        size.append(field.size[axis] + (kernel[axis] - 1) * dilation[axis] * step)
        steps.append(step if transposed else step * stride[axis])
    return ReceptiveField((size[0], size[1]), (steps[0], steps[1]))


def _pool_to(field: ReceptiveField, before: torch.Size, after: torch.Size) -> ReceptiveField:
    if tuple(before) == tuple(after):
        return field
    if tuple(after) == (1, 1):
        return ReceptiveField((inf, inf), field.stride)
    window = [-(-before[axis] // after[axis]) for axis in range(2)]
    step = [max(1, before[axis] // after[axis]) for axis in range(2)]
    return _convolve(field, window, step, (1, 1))


def _mixes_all_positions(name: str, args: Any, source: Tensor, output: Any) -> bool:
    """Whether every position of `source` goes into every number that comes out: averages, flattening."""
    if name in _REDUCTIONS:
        dims = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else []
        dims = {dim % source.ndim for dim in dims}
        return (source.ndim == 4 and len(dims & {1, 2, 3}) >= 2) or (source.ndim == 3 and dims == {1})
    if name in _RESHAPES and isinstance(output, Tensor) and source.ndim == 4:
        return output.ndim == 2 and output.shape[0] == 1 and min(source.shape[2:]) > 1
    return False


def _is_attention(name: str, sources: list[Tensor]) -> bool:
    if name == "bmm":
        return len(sources) == 2
    return name.startswith(("_scaled_dot_product", "_native_multi_head", "_transformer_encoder_layer"))


def _tensors(args: Any) -> list[Tensor]:
    found = []
    for value in args:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, list | tuple):
            found += [item for item in value if isinstance(item, Tensor)]
    return found


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])
