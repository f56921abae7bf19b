"""`dltool export`: a model of `dltool finetune` as ONNX, for programs without PyTorch."""

from pathlib import Path
from typing import Annotated

import typer

from dltool.cli import old_options as options
from dltool.cli.console import Console
from dltool.errors import SettingsError


def command(
    model: Annotated[Path, typer.Argument(help="A model file, or a run's folder.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.onnx", help="The file to write.")],
    overwrite: options.Overwrite = False,
    config: options.Config = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write an ONNX file that takes 8-bit RGB pixels; normalisation and class names are inside."""
    console = Console("export", as_json, quiet)
    if output.suffix != ".onnx":
        raise SettingsError(f"-o {output}: a file that ends in .onnx is needed")
    if output.exists() and not overwrite:
        raise SettingsError(f"-o {output}: output exists; give --overwrite")
    from dltool.finetune.classifier_file import load_classifier
    from dltool.finetune.export import export_onnx

    classifier, _ = load_classifier(model)
    difference = export_onnx(classifier, output)
    size = classifier.preprocessing.crop
    console.document(
        {"model": model},
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
