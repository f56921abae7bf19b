"""From a torch module to an ONNX file that onnxruntime and OpenCV's dnn read, and whether it answers alike."""

import copy
import io
import json
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from timm.layers import Conv2dSame, get_same_padding
from torch import Tensor, nn

from dltool.device import is_out_of_memory
from dltool.errors import DltoolError, ModelError

_TOLERANCE = 1e-3
# Numbers of images at which the exported network is compared with the original.
BATCHES = (1, 5)


@dataclass(frozen=True)
class Exportable:
    """A module with all that its file says of it.

    Attributes:
        module: in evaluation mode on the CPU; takes the inputs in their order, returns a tensor or several.
        example: N random inputs by name.
        dynamic: of each input and output the dimensions of any size, by name (`batch` is the first).
        outputs: their names.
        shapes: of each input and output in words and numbers, for people and documents.
        texts: what the file's metadata says, as JSON.
    """

    module: nn.Module = field(repr=False)
    example: Callable[[int], dict[str, Tensor]] = field(repr=False)
    dynamic: Mapping[str, Mapping[int, str]]
    outputs: tuple[str, ...]
    shapes: Mapping[str, Mapping[str, Any]]
    texts: Mapping[str, Any]


def convert(exportable: Exportable, opsets: Sequence[int]) -> tuple[bytes, int]:
    """The ONNX file's content and its opset: the first of `opsets` that can express the network.

    Raises:
        DltoolError: the package `onnx` is missing. ModelError: the network cannot be exported.
    """
    if find_spec("onnx") is None:
        raise DltoolError("exporting needs the package 'onnx': pip install 'dltool[onnx]'")
    import onnx

    module = _with_fixed_padding(exportable.module)
    example = exportable.example(max(BATCHES))
    failed: Exception | None = None
    for opset in opsets:
        buffer = io.BytesIO()
        # torch 2.14 logs the whole graph of what it cannot express, past Python's stdout, whatever its switch says.
        quiet = patch.object(torch._C, "_jit_onnx_log", lambda *parts: None)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), quiet, torch.inference_mode():
            warnings.simplefilter("ignore")
            logging.getLogger("torch.onnx").setLevel(logging.CRITICAL)
            try:
                torch.onnx.export(
                    module,
                    tuple(example.values()),
                    buffer,
                    input_names=list(example),
                    output_names=list(exportable.outputs),
                    dynamic_axes={name: dict(axes) for name, axes in exportable.dynamic.items()},
                    opset_version=opset,
                    dynamo=False,  # the newer exporter knows no opset below 18, which OpenCV 4 does not read
                )
            except Exception as error:  # the exporter raises its own types for what it cannot express
                if is_out_of_memory(error):
                    raise
                failed = error
                continue
        model = onnx.load_from_string(buffer.getvalue())
        onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in exportable.texts.items()})
        return model.SerializeToString(), opset
    reason = " ".join(str(failed).split())[:160]
    raise ModelError(f"this network cannot be exported to ONNX by --opset {opsets[-1]} ({reason})") from failed


def largest_difference(exportable: Exportable, content: bytes) -> dict[int, float] | None:
    """By number of images the largest difference of an answer from the original's; None without onnxruntime.

    Raises:
        ModelError: the exported network answers differently.
    """
    if find_spec("onnxruntime") is None:
        return None
    found = {}
    for count in BATCHES:
        example = exportable.example(count)
        with torch.inference_mode():
            answer = exportable.module(*example.values())
        expected = [part.numpy() for part in (answer if isinstance(answer, tuple) else (answer,))]
        pairs = list(zip(run_onnx(content, example), expected, strict=True))
        found[count] = max(float(np.abs(own - right).max()) for own, right in pairs)
        scale = max(1.0, *(float(np.abs(right).max()) for _, right in pairs))
        if found[count] > _TOLERANCE * scale:
            raise ModelError(f"the exported network answers differently (by {found[count]:.2g}); nothing was written")
    return found


def run_onnx(content: bytes, inputs: Mapping[str, Tensor]) -> list[np.ndarray]:
    """The outputs of an ONNX file's content, by onnxruntime on the CPU."""
    return new_session(content).run(None, {name: value.numpy() for name, value in inputs.items()})


def new_session(content: bytes) -> Any:
    """An onnxruntime session on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


class _FixedPadding(nn.Module):
    """A convolution whose padding hangs on its input's size, which is computed once, while it is traced."""

    def __init__(self, layer: Conv2dSame) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        pads: list[int] = []
        for axis in (1, 0):
            place = int(x.shape[axis - 2])
            total = get_same_padding(place, layer.kernel_size[axis], layer.stride[axis], layer.dilation[axis])
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(x, pads), layer.weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups)


def _with_fixed_padding(module: nn.Module) -> nn.Module:
    """A copy in which TensorFlow's padding is no computation of its own, for readers that know no sizes as values."""
    module = copy.deepcopy(module)
    for name, layer in list(module.named_modules()):
        if isinstance(layer, Conv2dSame):
            parent, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(parent), leaf, _FixedPadding(layer))
    return module
