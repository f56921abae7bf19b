"""ONNX files in 8 bits by onnxruntime's static quantization, and what they lose by that."""

import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dltool.autoencoder.autoencoder_file import TrainedAutoencoder
from dltool.data.check import Checked
from dltool.data.limit import choose_evenly
from dltool.data.load import DataReport
from dltool.data.pixels import PixelReader, input_pixels
from dltool.data.splits import Split
from dltool.errors import DataError, DltoolError, SettingsError
from dltool.export.graph import new_session
from dltool.export.settings import ExportSettings
from dltool.finetune.classifier_file import TrainedClassifier
from dltool.finetune.continuation import run_of
from dltool.finetune.evaluate import EvaluationContext, choose_images, find_known, load_known
from dltool.finetune.inference_settings import EvaluationData
from dltool.images.folder import find_images
from dltool.images.quality import psnr
from dltool.images.read import read_image
from dltool.images.tensors import to_tensor
from dltool.training.run_folder import RunFolder
from dltool.training.seeds import new_generator

_CALIBRATED = 100
_MEASURED = 1000
_PHOTOS = 12
_SIDE = 192
# The noise that a denoiser's loss is measured with.
SIGMA = 25


@dataclass(frozen=True)
class Rounded:
    """An 8-bit file's content, and figures of both: of a classifier accuracies in [0, 1], of a denoiser PSNR in dB."""

    content: bytes
    figure: str
    before: float
    after: float
    images: int
    measured_on: str


def round_classifier(
    content: bytes, model: TrainedClassifier, settings: ExportSettings
) -> Generator[Checked | DataReport, None, Rounded]:
    """Quantize a classifier by up to 100 of its training images; measure on up to 1000 of test, else val, else all.

    Raises:
        SettingsError: no data. DataError: it cannot be read.
    """
    known = find_known(settings.model, EvaluationData(settings.data or _own_data(settings.model)), ())
    reader = PixelReader(model.preprocessing)
    dataset, new = yield from load_known(known, model.class_names, reader, EvaluationContext(torch.device("cpu")))
    chosen = choose_images(dataset, None, known.trained, new)
    split = chosen.split.take(choose_evenly(chosen.split.labels, _MEASURED))
    shown = dataset.splits.get("train", split)
    shown = shown.take(choose_evenly(shown.labels, _CALIBRATED))

    def pixels(images: Split) -> Iterator[Tensor]:
        for index in range(len(images)):
            yield torch.tensor(input_pixels(reader.read(images, index), model.preprocessing, 3))[None]

    rounded = quantize(content, "pixels", pixels(shown))
    hits = [0, 0]
    sessions = [new_session(content), new_session(rounded)]
    for image, label in zip(pixels(split), split.labels, strict=True):
        for number, session in enumerate(sessions):
            hits[number] += int(session.run(["logits"], {"pixels": image.numpy()})[0].argmax() == label)
    before, after = (count / len(split) for count in hits)
    return Rounded(rounded, "accuracy", before, after, len(split), chosen.name)


def round_denoiser(content: bytes, model: TrainedAutoencoder, settings: ExportSettings) -> Rounded:
    """Quantize a denoiser by the noisy middles of up to 12 photos; measure on up to 12 others, if there are others.

    The noise is white, of a standard deviation of 25 of 255, as denoisers are compared with it.

    Raises:
        SettingsError: no folder of photos. DataError: none can be read.
    """
    if settings.data is None:
        raise SettingsError("--int8: a denoiser needs photos to be set by; give --data FOLDER")
    files = find_images(Path(settings.data))
    files = [files[index] for index in choose_evenly(np.zeros(len(files), int), 2 * _PHOTOS)]
    clean = [_middle(file, model.channels) for file in files]
    if not clean:
        raise DataError(f"--data {settings.data}: no pictures in this folder")
    generator = new_generator("int8")
    noisy = [image + torch.randn(image.shape, generator=generator) * (SIGMA / 255) for image in clean]
    rounded = quantize(content, "images", iter(noisy[::2]))
    measured = slice(1, None, 2) if len(clean) > 1 else slice(None)
    figures = []
    for each in (content, rounded):
        session = new_session(each)
        restored = [torch.from_numpy(session.run(None, {"images": image.numpy()})[0]) for image in noisy[measured]]
        pairs = zip(restored, clean[measured], strict=True)
        figures.append(float(np.mean([float(psnr(own.clamp(0, 1), image)) for own, image in pairs])))
    return Rounded(rounded, "psnr", *figures, len(clean[measured]), f"sigma {SIGMA}")


def quantize(content: bytes, name: str, samples: Iterator[Tensor]) -> bytes:
    """Round an ONNX network's weights, channel by channel, and activations to 8 bits, ranges set by `samples`.

    Raises:
        DltoolError: onnxruntime is missing.
    """
    if find_spec("onnxruntime") is None:
        raise DltoolError("--int8 needs the package 'onnxruntime': pip install 'dltool[onnx]'")
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict[str, Any] | None:
            sample = next(samples, None)
            return None if sample is None else {name: sample.numpy()}

    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(content)
        kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        logging.disable(logging.WARNING)  # its advice is for those who call it
        try:
            quantize_static(source, target, Reader(), per_channel=True, op_types_to_quantize=["Conv", "Gemm"], **kinds)
        finally:
            logging.disable(logging.NOTSET)
        return target.read_bytes()


def _own_data(model: Path) -> str:
    """The data of the run that a model is of.

    Raises:
        SettingsError: that cannot be told.
    """
    run = run_of(model)
    stored = RunFolder(run).read_config().get("data", {}) if (run / "config.json").is_file() else {}
    if "source" not in stored:
        raise SettingsError(f"--int8: {model} has no run's folder that names its data; give --data DATA")
    return stored["source"]


def _middle(file: Path, channels: int) -> Tensor:
    """1 × channels × H × W in [0, 1], at most 192 × 192 pixels of the middle."""
    image = to_tensor(read_image(file).pixels)
    top, left = (max(0, (side - _SIDE) // 2) for side in image.shape[2:])
    image = image[..., top : top + _SIDE, left : left + _SIDE]
    return image if channels == 3 else image.mean(1, keepdim=True)
