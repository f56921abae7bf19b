"""`dltool export`: a model of `dltool finetune` as ONNX, for programs without PyTorch."""

from dltool.cli.console import Console
from dltool.cli.options import OverwriteOnly
from dltool.finetune.classifier_file import load_classifier
from dltool.finetune.export import export_onnx
from dltool.finetune.settings import ExportSettings
from dltool.outputs import check_file, files_read
from dltool.settings import Typed


def run(console: Console, typed: Typed, settings: ExportSettings, place: OverwriteOnly) -> None:
    """Write the file, compared with the original before."""
    output = settings.output
    check_file("-o", output, place.overwrite, files_read(settings, without=("output",)))
    classifier, _ = load_classifier(settings.model)
    difference = export_onnx(classifier, output)
    size = classifier.preprocessing.crop
    console.document(
        {"model": settings.model},
        "cpu",
        output=output,
        input={"name": "pixels", "shape": ["N", size, size, 3], "type": "uint8"},
        classes=classifier.class_names,
        largest_difference=difference,
    )
    checked = (
        "not compared: onnxruntime is not installed" if difference is None else f"logits differ by {difference:.1e}"
    )
    console.result(f"{output} (pixels: N x {size} x {size} x 3 uint8; {checked})")
