"""What is exported, how and to where; free of torch, for quick help pages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from dltool.errors import SettingsError
from dltool.settings import Option, check_options

# The word for the denoiser that comes with dltool.
DENOISER = "denoiser"
# What OpenCV's dnn and onnxruntime have read since 2021, and what networks need that attend.
OPSETS = (13, 17)


@dataclass(frozen=True)
class ExportSettings:
    """Which model is exported, how, and to where.

    Attributes:
        model: a model file or the folder of a run of finetune, ae train, gan train or style train; or `denoiser`.
        opset: of ONNX; None takes the first of `OPSETS` that can express the network.
        int8: round weights and activations to 8 bits, by images of `data`; None takes the run's own.
    """

    model: Annotated[
        Path,
        Option(
            "A model file or a run's folder, of finetune, ae, gan or style train; or 'denoiser', the bundled one.",
            metavar="MODEL",
            argument=True,
        ),
    ]
    output: Annotated[Path, Option("The file to write.", flags=("--output", "-o"), metavar="FILE.onnx")]
    opset: Annotated[
        int | None,
        Option("ONNX's version of operators.", min=11, max=20, shown="13, or 17 where a network needs it"),
    ] = None
    int8: Annotated[bool, Option("Round a classifier or denoiser to 8 bits; what that loses is printed.")] = False
    data: Annotated[
        str | None,
        Option(
            "With --int8: images to set it by and to measure on, labelled for a classifier.",
            metavar="DATA",
            shown="the run's own",
        ),
    ] = None

    def __post_init__(self) -> None:
        check_options(self)
        if self.output.suffix != ".onnx":
            raise SettingsError(f"-o {self.output}: a file that ends in .onnx is needed")
        if self.int8 and self.opset is not None and self.opset < OPSETS[0]:
            raise SettingsError(f"--opset {self.opset}: --int8 needs at least {OPSETS[0]}")

    def without_effect(self) -> dict[str, str]:
        """Options that change nothing beside the others, and why."""
        return {} if self.int8 else {"data": "without --int8"}
