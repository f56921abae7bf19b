"""The options of `dltool stylize`: what they are called, what they mean, and recipes, which set many of them."""

from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer

from dltool.cli.config import option_values
from dltool.errors import SettingsError
from dltool.stylize.recipes import list_recipes, load_recipe
from dltool.stylize.settings import INITS, GramForm, LossForm, Optimizer, Pooling, PreserveColor

_STYLE = "Style"
_LOSS = "Loss"
_DESCENT = "Optimization"
_OUTPUT = "More outputs"
_NETWORK = "Network"


def _apply_recipe(context: typer.Context, name: str | None) -> str | None:
    """Option callback: the recipe's values become defaults; flags and --config win over them."""
    if name is None or context.resilient_parsing:
        return name
    values = option_values(context, load_recipe(name).options, f"--recipe {name}")
    context.default_map = {**values, **(context.default_map or {})}
    return name


def _print_recipes(asked: bool) -> None:
    if not asked:
        return
    for recipe in list_recipes():
        print(f"{recipe.name}: {recipe.description}")
        for option, value in recipe.options.items():
            print(f"    {option} = {value}")
    raise typer.Exit


def parse_size(text: str) -> int | None:
    """Read `--size`: pixels, or `original` for None.

    Raises:
        SettingsError: neither.
    """
    if text == "original":
        return None
    if not text.isdigit() or int(text) < 1:
        raise SettingsError(f"--size {text}: pixels of the longest side, or 'original', are needed")
    return int(text)


def parse_memory(text: str | None) -> int | None:
    """Read `--max-memory`: `800MB`, `2GB`, `1.5G`, or plain bytes.

    Raises:
        SettingsError: no amount of memory.
    """
    if text is None:
        return None
    number = text.upper().rstrip("IB").rstrip("KMG")
    unit = text.upper().removeprefix(number).rstrip("IB")
    try:
        amount = float(number) * {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[unit]
    except (KeyError, ValueError):
        amount = 0.0
    if not 1 <= amount < float("inf"):
        raise SettingsError(f"--max-memory {text}: not an amount of memory; give 800MB or 2GB")
    return int(amount)


def parse_numbers(text: str | None, option: str, count: int | None = None) -> tuple[float, ...] | None:
    """Read `0.4,0.5,0.6`; None where nothing is given.

    Raises:
        SettingsError: not finite numbers, or not as many as `count`.
    """
    if not text:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(isfinite(number) for number in numbers) or (count is not None and len(numbers) != count):
        wanted = "numbers" if count is None else f"{count} numbers"
        raise SettingsError(f"{option} {text}: {wanted} with commas between are needed")
    return numbers


def _option(help_text: str, panel: str | None = None, **more: Any) -> Any:
    return typer.Option(help=help_text, rich_help_panel=panel, **more)


Contents = Annotated[list[Path], typer.Argument(help="Photos, or folders of them.", show_default=False)]
Styles = Annotated[
    list[str],
    typer.Option(
        "--style", "-s", metavar="FILE[:WEIGHT]|FOLDER",
        help="The painting; several are blended by their weights; of a folder each in turn.",
    ),
]  # fmt: skip
Output = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FILE|FOLDER", help="A file for one photo, else a folder (PNG files)."),
]
RecipeName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE.toml", is_eager=True, callback=_apply_recipe, show_default=False,
        help="Settings by name, such as gatys-vgg19; other options win over them.",
    ),
]  # fmt: skip
ListRecipes = Annotated[
    bool,
    typer.Option("--list-recipes", is_eager=True, callback=_print_recipes, help="Print every recipe and leave."),
]
Size = Annotated[str, _option("Longest side of the result.", metavar="PIXELS|original")]
Steps = Annotated[int, _option("Evaluations of loss and gradient, over all scales.", min=1)]
Time = Annotated[
    str | None,
    _option("At most this long for one picture; then as many steps as fit.", metavar="30s|5m", show_default=False),
]
MaxMemory = Annotated[
    str | None,
    _option("Work in tiles that fit, with the same result.", metavar="2GB", show_default=False),
]
StyleScale = Annotated[float, _option("Size of the painting's strokes.", _STYLE)]
Strength = Annotated[float, _option("From the photo's own style (0) to the painting's (1).", _STYLE, min=0, max=1)]
Preserve = Annotated[PreserveColor, _option("Keep the photo's colours: its chroma, or a recoloured painting.", _STYLE)]
MaskFile = Annotated[
    Path | None,
    _option(
        "Grey: where and how strongly. As many flat colours as styles: dark to bright, each its own style.",
        _STYLE, metavar="FILE", show_default=False,
    ),
]  # fmt: skip
Init = Annotated[
    str,
    _option(
        "Start: the photo in the style's colours, the photo itself, …", _DESCENT, metavar="|".join([*INITS, "FILE"])
    ),
]
Scales = Annotated[
    int, _option("Sizes worked through from coarse to fine, each 1.4 times the last; 0: from 256 px.", _DESCENT, min=0)
]
OptimizerName = Annotated[Optimizer, _option("How the pixels are moved.", _DESCENT)]
LearningRate = Annotated[
    float, _option("Step length; 0 takes the optimizer's own (Adam 0.02, L-BFGS 1).", _DESCENT, min=0)
]
History = Annotated[int, _option("Past steps that L-BFGS learns from.", _DESCENT, min=1)]
Average = Annotated[
    float, _option("End each scale with the average of its pictures, with this decay.", _DESCENT, min=0, max=1)
]
ContentWeight = Annotated[float, _option("Of keeping what is in the photo.", _LOSS, min=0)]
StyleWeight = Annotated[float, _option("Of looking painted like the style.", _LOSS, min=0)]
TvWeight = Annotated[float, _option("Of smoothness between neighbouring pixels.", _LOSS, min=0)]
RangeWeight = Annotated[float, _option("Of staying between black and white.", _LOSS, min=0)]
ContentLayers = Annotated[
    str | None,
    _option("Layers that say what is in it.", _LOSS, metavar="NAME[:WEIGHT],…", show_default=False),
]
StyleLayers = Annotated[
    str | None,
    _option("Layers that say how it is painted.", _LOSS, metavar="NAME[:WEIGHT],…", show_default=False),
]
Loss = Annotated[LossForm, _option("Distances divided by the target's energy, or plain means summed.", _LOSS)]
Gram = Annotated[GramForm, _option("What Gram matrices are divided by: h·w, c·h·w, nothing.", _LOSS)]
PoolingKind = Annotated[Pooling, _option("What the network's max poolings do.", _NETWORK)]
PixelMean = Annotated[
    str | None, _option("Subtracted from R,G,B in 0..1.", _NETWORK, metavar="R,G,B", show_default=False)
]
PixelStd = Annotated[str | None, _option("Divides R,G,B then.", _NETWORK, metavar="R,G,B", show_default=False)]
SaveEvery = Annotated[int, _option("Also write the picture every so many steps.", _OUTPUT, min=0)]
Gif = Annotated[bool, typer.Option("--gif", help="Also write a GIF of how it came to be.", rich_help_panel=_OUTPUT)]
Grid = Annotated[
    bool,
    typer.Option("--grid", help="One labelled sheet of small results: layers by ratios.", rich_help_panel=_OUTPUT),
]
GridLayers = Annotated[
    str | None,
    _option("Content layers, a row each.", _OUTPUT, metavar="NAME,…", show_default=False),
]
GridRatios = Annotated[
    str | None,
    _option("Style : content, a column each.", _OUTPUT, metavar="1,10,100", show_default=False),
]
Frames = Annotated[
    bool,
    typer.Option("--frames", help="CONTENT is an animation, or a folder of frames, in time.", rich_help_panel=_OUTPUT),
]
HoldWeight = Annotated[float, _option("Of holding still what stands still.", _OUTPUT, min=0)]
