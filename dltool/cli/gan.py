"""`dltool gan`: the group of commands that train generators, draw from them and measure them."""

import typer

from dltool.cli import gan_evaluate, gan_sample, gan_train

app = typer.Typer(
    help="Train generators of pictures, draw from them, measure them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


app.command("train")(gan_train.command)
app.command("sample")(gan_sample.command)
app.command("evaluate")(gan_evaluate.command)
