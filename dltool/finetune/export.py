"""Classifiers as ONNX files that hold normalisation, class names and preprocessing."""

import io
import json
import logging
import warnings
from contextlib import redirect_stdout
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dltool.device import is_out_of_memory
from dltool.errors import DltoolError, ModelError
from dltool.files import write_atomically
from dltool.finetune.classifier_file import TrainedClassifier
from dltool.images.tensors import LUMA
from dltool.training.seeds import new_generator

_OPSET = 18
_TOLERANCE = 1e-3


class _FromPixels(nn.Module):
    """The classifier on N × crop × crop × 3 uint8 pixels."""

    def __init__(self, classifier: TrainedClassifier) -> None:
        super().__init__()
        self.classifier = classifier.module
        self.grey = classifier.in_channels == 1
        channels = classifier.in_channels
        self.register_buffer("mean", torch.tensor(classifier.preprocessing.mean[:channels]).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(classifier.preprocessing.std[:channels]).view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        images = pixels.permute(0, 3, 1, 2).float()
        if self.grey:  # ITU-R 601-2 luma, as Pillow converts
            images = (images * torch.tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True).round()
        return self.classifier((images / 255 - self.mean) / self.std)


def export_onnx(classifier: TrainedClassifier, path: Path) -> float | None:
    """Write the model and compare it with the original on random images.

    Its input `pixels` is N × crop × crop × 3 uint8 of any N, already scaled and cropped; its output `logits`
    N × classes. The file's metadata has `class_names` and `preprocessing` as JSON.

    Returns:
        The largest difference of a logit; None where onnxruntime is not installed.

    Raises:
        DltoolError: the package `onnx` is missing, or the file cannot be written.
        ModelError: the network cannot be exported, or the exported one answers differently.
    """
    for package in ("onnx", "onnxscript"):
        if find_spec(package) is None:
            raise DltoolError(f"exporting needs the package '{package}': pip install onnx onnxscript")
    import onnx

    side = classifier.preprocessing.crop
    module = _FromPixels(classifier).eval()
    noise = torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8, generator=new_generator("export"))
    model = onnx.load_from_string(_convert(module, noise))
    texts = {"class_names": classifier.class_names, "preprocessing": asdict(classifier.preprocessing)}
    onnx.helper.set_model_props(model, {name: json.dumps(value) for name, value in texts.items()})
    content = model.SerializeToString()
    difference = _compare(module, content, noise)
    write_atomically(path, content)
    return difference


def _convert(module: nn.Module, pixels: Tensor) -> bytes:
    """The module as an ONNX file's content, by torch's exporter or, where that fails (torch 2.6), by its older one."""
    names = {"input_names": ["pixels"], "output_names": ["logits"], "opset_version": _OPSET, "verbose": False}
    batch = {"pixels": {0: torch.export.Dim("batch")}}
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.CRITICAL)
        try:
            program = torch.onnx.export(module, (pixels,), dynamo=True, dynamic_shapes=batch, **names)
            return program.model_proto.SerializeToString()
        except Exception as newer:  # the exporters raise their own types for what they cannot express
            try:
                buffer = io.BytesIO()
                axes = {"pixels": {0: "batch"}, "logits": {0: "batch"}}
                torch.onnx.export(module, (pixels,), buffer, dynamo=False, dynamic_axes=axes, **names)
                return buffer.getvalue()
            except Exception as older:
                for error in (older, newer):
                    if is_out_of_memory(error):
                        raise error from None
                reason = " ".join(str(newer).split())[:160]
                raise ModelError(f"this network cannot be exported to ONNX ({reason})") from newer


def _compare(module: nn.Module, content: bytes, pixels: Tensor) -> float | None:
    if find_spec("onnxruntime") is None:
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    answer = session.run(["logits"], {"pixels": pixels.numpy()})[0]
    with torch.inference_mode():
        expected = module(pixels).numpy()
    difference = float(np.abs(answer - expected).max())
    if difference > _TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise ModelError(f"the exported network answers differently (by {difference:.2g}); nothing was written")
    return difference
