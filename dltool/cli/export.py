"""`dltool export`: a trained model as ONNX, for programs without PyTorch."""

from dltool.cli.console import Console
from dltool.cli.options import OverwriteOnly
from dltool.cli.training import Watcher, follow
from dltool.export.settings import ExportSettings
from dltool.export.write import describe, export_model
from dltool.outputs import check_file, files_read
from dltool.settings import Typed


def run(console: Console, typed: Typed, settings: ExportSettings, place: OverwriteOnly) -> None:
    """Write the file, compared with the original before."""
    typed.refuse(settings.without_effect())
    check_file("-o", settings.output, place.overwrite, files_read(settings, without=("output",)))
    with console.progress() as progress:
        exported = follow(export_model(settings), Watcher(progress, console.quiet).show)
    rounded, network = exported.rounded, exported.network
    inputs = {name: each for name, each in network.shapes.items() if name not in network.outputs}
    console.document(
        {"model": settings.model},
        "cpu",
        output=settings.output,
        input={"name": next(iter(inputs)), **next(iter(inputs.values()))},
        inputs=inputs,
        outputs={name: network.shapes[name] for name in network.outputs},
        opset=exported.opset,
        classes=network.texts.get("class_names", ()),
        largest_difference=max(exported.differences.values()) if exported.differences else None,
        differences=exported.differences,
        int8={name: value for name, value in vars(rounded).items() if name != "content"} if rounded else None,
    )
    console.result(f"{settings.output} ({describe(exported)[0]})")
    for line in describe(exported)[1:]:
        console.result(line)
