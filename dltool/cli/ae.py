"""`dltool ae`: the group of the autoencoders' commands."""

import typer

from dltool.cli import ae_train

app = typer.Typer(
    name="ae",
    help="Autoencoders: train one, look at what comes back, take the noise out of photos.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(ae_train.command)
