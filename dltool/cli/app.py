"""The `dltool` command: its sub-commands, and the one place where errors become a line and an exit code."""

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dltool import __version__
from dltool.cli import ae, cluster, evaluate, export, featmap, finetune, gan, info, predict, stylize
from dltool.cli.signals import ReportedCode, Terminated, raise_on_sigterm
from dltool.errors import DltoolError


class _Group(TyperGroup):
    """Typer's group with dltool's manners: one plain line per error, and exit codes that scripts can rely on."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> None:
        extra.pop("standalone_mode", None)
        words = list(sys.argv[1:] if args is None else args)
        raise_on_sigterm()
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
        print(f"dltool: error: {message}", file=sys.stderr)
        if "--json" in words:
            command = " ".join(_command_words(words))
            document = {"command": command, "version": __version__, "error": message, "exit_code": code}
            print(json.dumps(document, indent=2))
    return code


def _command_words(words: list[str]) -> list[str]:
    group: Any = typer.main.get_command(app)
    path = []
    for word in words:
        group = getattr(group, "commands", {}).get(word)
        if group is None:
            break
        path.append(word)
    return path


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _print_version(asked: bool) -> None:
    if asked:
        print(f"dltool {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=_Group,
    name="dltool",
    help="The classic deep-learning jobs on pictures, from the command line.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


app.command("stylize")(stylize.command)
app.command("finetune")(finetune.command)
app.command("predict")(predict.command)
app.command("evaluate")(evaluate.command)
app.command("export")(export.command)
app.command("cluster")(cluster.command)
app.command("featmap")(featmap.command)
app.add_typer(gan.app, name="gan")
app.add_typer(ae.app)
app.command("info")(info.command)
