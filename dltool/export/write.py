"""One model file to one ONNX file, compared with the original before it is written."""

from collections.abc import Generator
from dataclasses import dataclass

from dltool.autoencoder.autoencoder_file import TrainedAutoencoder
from dltool.data.check import Checked
from dltool.data.load import DataReport
from dltool.errors import SettingsError
from dltool.export.graph import Exportable, convert, largest_difference
from dltool.export.int8 import Rounded, round_classifier, round_denoiser
from dltool.export.networks import Model, exportable, load_any
from dltool.export.settings import OPSETS, ExportSettings
from dltool.files import write_atomically
from dltool.finetune.classifier_file import TrainedClassifier


@dataclass(frozen=True)
class Exported:
    """What was written: the network, its opset, by number of images the difference from the original, and 8 bits."""

    network: Exportable
    opset: int
    differences: dict[int, float] | None
    rounded: Rounded | None


def export_model(settings: ExportSettings) -> Generator[Checked | DataReport, None, Exported]:
    """Write the file; yield how its data is checked, with `int8`, and return what was written.

    Raises:
        DltoolError: a package is missing, or the file cannot be written.
        ModelError: no model, it cannot be exported, or the exported one answers differently.
        SettingsError, DataError: `int8` for a kind of model that it is not for, or without images.
    """
    model = load_any(settings.model)
    if settings.int8 and not can_be_rounded(model):
        raise SettingsError("--int8: for classifiers and denoisers; leave it out")
    network = exportable(model)
    content, opset = convert(network, OPSETS if settings.opset is None else (settings.opset,))
    differences = largest_difference(network, content)
    rounded = None
    if settings.int8 and isinstance(model, TrainedClassifier):
        rounded = yield from round_classifier(content, model, settings)
    elif settings.int8 and isinstance(model, TrainedAutoencoder):
        rounded = round_denoiser(content, model, settings)
    write_atomically(settings.output, content if rounded is None else rounded.content)
    return Exported(network, opset, differences, rounded)


def can_be_rounded(model: Model) -> bool:
    """Whether it is a classifier, or a denoiser of images of any size."""
    return isinstance(model, TrainedClassifier) or (isinstance(model, TrainedAutoencoder) and model.size is None)


def describe(exported: Exported) -> list[str]:
    """Lines for people: inputs and outputs, how far the answers are from the original's, what 8 bits lose."""
    parts = exported.network.shapes.items()
    shapes = [f"{name}: {' x '.join(map(str, each['shape']))} {each['type']}" for name, each in parts]
    lines = ["; ".join([*shapes, f"opset {exported.opset}"])]
    if exported.differences is None:
        lines.append("not compared: onnxruntime is not installed")
    else:
        figures = ", ".join(f"{value:.1e} in a batch of {count}" for count, value in exported.differences.items())
        lines.append(f"differs from the original by {figures}")
    if exported.rounded is not None:
        lines.append(_describe_rounded(exported.rounded))
    return lines


def _describe_rounded(rounded: Rounded) -> str:
    where = f"on {rounded.images} pictures of {rounded.measured_on}"
    lost = rounded.before - rounded.after
    if rounded.figure == "psnr":
        where = f"on {rounded.images} pictures with noise of {rounded.measured_on}"
        return f"int8: {rounded.before:.2f} dB become {rounded.after:.2f} dB {where} ({lost:.2f} dB lost)"
    return (
        f"int8: accuracy {100 * rounded.before:.1f} % becomes {100 * rounded.after:.1f} % {where} "
        f"({100 * lost:.1f} points lost)"
    )
