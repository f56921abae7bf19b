"""The `dltool` command: its table of commands, and the one place where errors become a line and an exit code."""

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dltool import __version__, outputs
from dltool.cli.command import Command, for_one_process, to_typer
from dltool.cli.signals import ReportedCode, Terminated, raise_on_sigterm
from dltool.errors import DltoolError
from dltool.files import printable

_MACHINE, _PROCESSOR, _OUTPUTS, _OVERWRITE, _RUN, _PLACE = (
    f"dltool.cli.options:{name}"
    for name in ("Machine", "Processor", "Outputs", "OverwriteOnly", "RunOutput", "RunPlace")
)
_PAGE = "dltool.pages.settings:PageChoice"
_STYLIZE = tuple(
    f"dltool.stylize.settings:{name}"
    for name in ("StylizeFiles", "StylizeSettings", "NetworkSettings", "Extras", "GridSettings", "FramesSettings")
)
_FEATMAP = tuple(
    f"dltool.featmap.settings:{name}"
    for name in ("FeatmapFiles", "LookSettings", "MapSettings", "Questions", "WhySettings", "NetworkSettings")
)

# Every command by the words that call it, in the order of the help page.
COMMANDS: dict[str, Command] = {
    "stylize": Command(
        "dltool.cli.stylize",
        "Restyle photos: each is optimized until a network sees the photo's content in the painting's style.",
        (_OUTPUTS, _MACHINE, *_STYLIZE, _PAGE),
    ),
    "style train": Command(
        "dltool.cli.style_train",
        "Teach a small network paintings, so that stylize -s RUN paints any image like them in one pass.",
        (*(f"dltool.instant.settings:{kind}" for kind in ("InstantSettings", "TrainingPhotos")), _RUN, _MACHINE),
    ),
    "finetune": Command(
        "dltool.cli.finetune",
        "Train an image classifier: the data is checked, the strategy chosen and explained, the best model kept.",
        (
            *("dltool.finetune.settings:FinetuneSettings", "dltool.finetune.settings:FinetuneTask"),
            *("dltool.data.settings:LabelledData", _PLACE, _MACHINE),
        ),
    ),
    "predict": Command(
        "dltool.cli.predict",
        "Name the classes of images; unreadable ones are listed and never stop the rest.",
        ("dltool.finetune.inference_settings:PredictSettings", _OUTPUTS, _MACHINE),
    ),
    "evaluate": Command(
        "dltool.cli.evaluate",
        "Measure accuracy, calibration and confusion on images whose classes are known.",
        (
            *(
                "dltool.finetune.inference_settings:EvaluateSettings",
                "dltool.finetune.inference_settings:EvaluationData",
            ),
            *(_OVERWRITE, _MACHINE),
        ),
    ),
    "export": Command(
        "dltool.cli.export",
        "Write a classifier, an autoencoder, the denoiser, a generator or a style as ONNX; all is inside.",
        ("dltool.export.settings:ExportSettings", _OVERWRITE),
    ),
    "cluster": Command(
        "dltool.cli.cluster",
        "Group images by likeness, or points by nearness: sheets, a map, a table, and folders if wanted.",
        (
            *(f"dltool.cluster.settings:{name}" for name in ("ClusterSettings", "ClusterPlace", "ClusterData")),
            *(_OUTPUTS, _MACHINE),
        ),
    ),
    "featmap": Command(
        "dltool.cli.featmap",
        "See what a network sees: its layers' maps (the default), why it decides (--method), what it looks for.",
        (_OUTPUTS, _MACHINE, *_FEATMAP, _PAGE),
    ),
    "gan train": Command(
        "dltool.cli.gan_train",
        "Train a generator of images: a grid each epoch, a quality figure, the best snapshot kept.",
        ("dltool.gan.settings:GanSettings", "dltool.data.settings:DataSettings", _PLACE, _MACHINE),
    ),
    "gan sample": Command(
        "dltool.cli.gan_sample",
        "Draw images from a generator; the same seed gives the same image.",
        ("dltool.gan.sample_settings:SampleSettings", _OUTPUTS, _PROCESSOR),
    ),
    "gan evaluate": Command(
        "dltool.cli.gan_evaluate",
        "Measure how near generated images are to real ones: Fréchet distance, KID, precision and recall.",
        (
            *("dltool.gan.evaluate_settings:EvaluateSettings", "dltool.gan.evaluate_settings:RealData"),
            *(_OVERWRITE, _MACHINE),
        ),
    ),
    "ae train": Command(
        "dltool.cli.ae_train",
        "Train an autoencoder; with --noise it learns to give the clean image back.",
        ("dltool.autoencoder.settings:AeSettings", "dltool.autoencoder.settings:ImageData", _PLACE, _MACHINE),
    ),
    "ae denoise": Command(
        "dltool.cli.ae_denoise",
        "Take the noise out of photos, whatever its strength; size, bits per channel and transparency are kept.",
        (
            *("dltool.denoise.settings:" + kind for kind in ("DenoiseFiles", "DenoiseSettings", "NetworkChoice")),
            *(_OUTPUTS, _MACHINE),
        ),
    ),
    "ae reconstruct": Command(
        "dltool.cli.ae_reconstruct",
        "Send images through an autoencoder: originals beside what comes back, errors, codes.",
        ("dltool.autoencoder.settings:ReconstructSettings", "dltool.cli.options:Overwriting", _MACHINE),
    ),
    "ae sample": Command(
        "dltool.cli.ae_sample",
        "Draw images from a variational autoencoder; the same seed gives the same image.",
        ("dltool.autoencoder.sample_settings:DecoderSettings", _OUTPUTS, _PROCESSOR),
    ),
    "page": Command(
        "dltool.cli.page",
        "Make or remake the page of a run, which shows what came out: index.html in its folder.",
        ("dltool.pages.settings:PageTask",),
    ),
    "info": Command(
        "dltool.cli.info", "Show versions, devices, which weights are on this machine and where they are kept."
    ),
}
# Those of them that processes started by torchrun share the work of; the others are for one process.
SHARING = frozenset({"stylize", "finetune", "predict", "featmap", "gan train", "ae train", "ae denoise"})
GROUPS = {
    "style": "Styles that paint in one pass.",
    "gan": "Train generators of images, draw from them, measure them.",
    "ae": "Autoencoders: train one, look at what comes back, take the noise out of photos.",
}


class _Group(TyperGroup):
    """Typer's group, of commands that are made when they are looked up."""

    prefix = ""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.commands = dict.fromkeys(self.list_commands(None))  # Typer looks for near names here

    def list_commands(self, context: Any) -> list[str]:
        words = [name.removeprefix(self.prefix).split(" ")[0] for name in COMMANDS if name.startswith(self.prefix)]
        return list(dict.fromkeys(words))

    def get_command(self, context: Any, name: str) -> Any:
        if not self.prefix and name in GROUPS:
            return typer.main.get_command(_group_app(name))
        full = self.prefix + name
        if full not in COMMANDS:
            return None
        function = COMMANDS[full].build(full)
        return to_typer(function if full in SHARING else for_one_process(function, full), name)


class _Main(_Group):
    """The outermost group, with dltool's manners: one plain line per error, and exit codes to rely on."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> None:
        extra.pop("standalone_mode", None)
        words = list(sys.argv[1:] if args is None else args)
        raise_on_sigterm()
        outputs.begin(_command_name(words))
        try:
            code = super().main(words, prog_name, standalone_mode=False, **extra)
        except DltoolError as error:
            code = _report(words, str(error), error.exit_code, error)
        except Terminated:
            code = _report(words, "terminated", 143)
        except KeyboardInterrupt:
            code = 130
        except typer.Abort:
            code = _report(words, "aborted", 1)
        except Exception as error:
            if type(error).__name__ == "NoArgsIsHelpError":
                error.show()  # type: ignore[attr-defined]
                code = 2
            elif hasattr(error, "format_message"):  # Typer's usage errors
                code = _report(words, _one_line(error.format_message()), 2, error)
            elif _is_out_of_memory(error):
                code = _report(words, "out of memory; try a smaller --size, or --device cpu", 5, error)
            else:
                code = _report(words, f"{type(error).__name__}: {_one_line(str(error))}", 1, error)
        if code == 130 and not isinstance(code, ReportedCode):
            _report(words, "interrupted", 130)
        sys.exit(code if isinstance(code, int) else 0)


def _report(words: list[str], message: str, code: int, error: Exception | None = None) -> int:
    """Print `dltool: error: …` on stderr, and under --json a document with the error on stdout."""
    if error is not None and os.environ.get("DLTOOL_DEBUG") == "1":
        raise error
    with contextlib.suppress(OSError):  # a closed or full stream takes no message
        print(f"dltool: error: {printable(message)}", file=sys.stderr)
        if "--json" in words:
            document = {"command": _command_name(words), "version": __version__, "error": message, "exit_code": code}
            print(json.dumps(document, indent=2))
    return code


def _is_out_of_memory(error: Exception) -> bool:
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from dltool.device import is_out_of_memory

    return is_out_of_memory(error)


def _command_name(words: list[str]) -> str:
    for count in (2, 1):
        name = " ".join(words[:count])
        if name in COMMANDS or name in GROUPS:
            return name
    return ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _group_app(name: str) -> typer.Typer:
    kind = type("_Commands", (_Group,), {"prefix": f"{name} "})
    group = typer.Typer(cls=kind, name=name, help=GROUPS[name], no_args_is_help=True, context_settings=_HELP)
    group.callback()(_no_options)
    return group


def _no_options() -> None:
    pass


def _print_version(asked: bool) -> None:
    if asked:
        print(f"dltool {__version__}")
        raise typer.Exit


_HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    cls=_Main,
    name="dltool",
    help="The classic deep-learning jobs on pictures, from the command line.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=_HELP,
)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass
