"""`dltool gan`: the group of commands that train generators, draw from them and measure them."""

import typer

from dltool.cli import gan_evaluate

app = typer.Typer(
    help="Train generators of pictures, draw from them, measure them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _group() -> None:
    """Keep this a group however many commands it has."""


# Each command has a file of its own: app.command("train")(gan_train.command), and so on.
app.command("evaluate")(gan_evaluate.command)
