"""Everything that decides what `stylize` makes, as options; free of torch, so that the help page is quick."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from dltool.backbones import DEFAULT_BACKBONE
from dltool.errors import SettingsError
from dltool.settings import (
    Backbone,
    Option,
    Precision,
    PrecisionOption,
    Seed,
    Weights,
    check_options,
    read_bytes,
    read_names,
    read_numbers,
    read_seconds,
)


class Optimizer(StrEnum):
    """How the image is moved down the loss."""

    LBFGS = "lbfgs"
    ADAM = "adam"


class PreserveColor(StrEnum):
    """Which way the photo keeps its colours: its chroma under a painted luminance, or a painting recoloured first."""

    NONE = "none"
    LUMINANCE = "luminance"
    HISTOGRAM = "histogram"


class Pooling(StrEnum):
    """What a network's max-pooling layers do."""

    MAX = "max"
    AVG = "avg"


class LossForm(StrEnum):
    """How distances become losses: divided by the target's energy and averaged over layers, or plain means, summed."""

    RELATIVE = "relative"
    MSE = "mse"


class GramForm(StrEnum):
    """What a Gram matrix F Fᵀ is divided by: the h·w positions, the c·h·w elements, or nothing."""

    POSITIONS = "positions"
    ELEMENTS = "elements"
    SUM = "sum"


INITS = ("colors", "content", "noise", "style")
TRAINED = ".safetensors"
_LARGEST_RATE = 1e9  # far beyond all sense, and steps can still be computed in float32
_STYLE, _DESCENT, _LOSS, _NETWORK, _MORE = "Style", "Optimization", "Loss", "Network", "More outputs"


def read_size(text: str) -> int | None:
    """Read pixels, or `original` for None.

    Raises:
        ValueError: neither.
    """
    if text == "original":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("pixels of the longest side, or 'original', are needed")
    return int(text)


def read_rgb(text: str) -> tuple[float, ...]:
    """Read a number for each of R, G and B.

    Raises:
        ValueError: not 3 finite numbers.
    """
    try:
        numbers = read_numbers(text)
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        raise ValueError("3 numbers with commas between are needed")
    return numbers


@dataclass(frozen=True)
class StylizeFiles:
    """What is read and written.

    Attributes:
        content: photos, or folders of them.
        style: paintings as typed; see `dltool.stylize.styles.parse_styles`.
        output: a file for one photo, else a folder.
        recipe: whose values the options began with; `dltool.stylize.recipes` reads them.
        list_recipes: the command line's alone.
        mask: where each style goes; see `dltool.stylize.masks.read_mask`.
    """

    content: Annotated[tuple[Path, ...], Option("Photos, or folders of them.", argument=True)]
    style: Annotated[
        tuple[str, ...],
        Option(
            "The painting, or a trained style; several are blended by their weights; of a folder each in turn.",
            flags=("--style", "-s"),
            metavar="FILE[:WEIGHT]|FOLDER|RUN",
        ),
    ]
    output: Annotated[
        Path,
        Option("A file for one photo, else a folder (PNG files).", flags=("--output", "-o"), metavar="FILE|FOLDER"),
    ]
    recipe: Annotated[
        str | None,
        Option(
            "Settings by name, such as gatys-vgg19; other options win over them.",
            metavar="NAME|FILE.toml",
            shown="",
            eager="recipe",
        ),
    ] = None
    list_recipes: Annotated[bool, Option("Print every recipe and leave.", eager="list-recipes")] = False
    mask: Annotated[
        Path | None,
        Option(
            "Grey: where and how strongly. As many flat colours as styles: dark to bright, each its own style.",
            metavar="FILE",
            shown="",
            panel=_STYLE,
        ),
    ] = None

    __post_init__ = check_options


@dataclass(frozen=True)
class StylizeSettings:
    """Settings of one stylization; the defaults were chosen by `benchmarks/stylize_quality.py` and by eye.

    Attributes:
        size: longest side of the result in pixels; None for the photo's own size.
        steps: evaluations of loss and gradient, over all scales.
        time: seconds that one image may take; it then gets as many of `steps` as fit. None for no limit.
        max_memory: bytes that one image's optimization may take; None for what suits the device.
        style_scale: size of the painting, and so of its strokes, in units of the result's size.
        strength: between the photo's own style (0) and the painting's (1).
        preserve_color: whether and how the photo keeps its colours.
        init: `colors` (the photo in the style's colours), `content`, `noise`, `style`, or the path of an image, or of a
            trained style that paints the start.
        scales: sizes that are optimized one after the other, each √2 larger, up to `size`; 0 starts at 256 pixels,
            with at least 3 scales.
        optimizer: L-BFGS (needs fewer steps) or Adam.
        learning_rate: the step length of Adam in [0, 1] pixel units, or of L-BFGS in units of its own step; 0 for the
            optimizer's default.
        history: how many past steps L-BFGS learns the curvature from; fewer where memory does not hold them.
        average: each scale ends with the exponential average of its images with this decay; 0 takes the best one.
        content_weight, style_weight: of the two losses (with `loss` relative each is near 1 for an unrelated image).
        motif_weight: of the distance of the content layers' features to those of the painting's patches that are most
            similar to them at the start of each scale, up to 1024 pixels; see `dltool.stylize.motifs`.
        tv_weight: of the mean squared difference of neighbouring pixels; smooths.
        chroma_weight: the same of what is left of the pixels without their luma: nothing in the features holds fine
            colour noise, and the eye sees it. It grows, up to 40 times, for paintings with calmer colours than most.
        margin: pixels by which the photo is continued by reflection while it is optimized, and which are cut off at the
            end: a network's zero padding hardly sees the outermost rows.
        range_weight: of the mean squared distance of the pixels to [0, 1].
        content_layers, style_layers: layer names; empty for the backbone's own choice. A name may carry its weight
            as `relu1_1:0.5`, which is then moved to the next two.
        content_layer_weights, style_layer_weights: one for each layer, empty for equal ones. With `loss` relative
            only their proportions count.
        loss, gram: how features become the two losses; see LossForm and GramForm.
        seed: of the noise start, of untrained weights, and of where a trained style lays strokes of its own.
    """

    size: Annotated[
        int | None, Option("Longest side of the result.", min=1, metavar="PIXELS|original", read=read_size)
    ] = 512
    steps: Annotated[int, Option("Evaluations of loss and gradient, over all scales.", min=1)] = 150
    time: Annotated[
        float | None,
        Option(
            "At most this long for one image; then as many steps as fit.", metavar="30s|5m", shown="", read=read_seconds
        ),
    ] = None
    max_memory: Annotated[
        int | None, Option("Work in tiles that fit, with the same result.", metavar="2GB", shown="", read=read_bytes)
    ] = None
    style_scale: Annotated[float, Option("Size of the painting's strokes.", min=0.05, max=20, panel=_STYLE)] = 1.0
    strength: Annotated[
        float, Option("From the photo's own style (0) to the painting's (1).", min=0, max=1, panel=_STYLE)
    ] = 1.0
    preserve_color: Annotated[
        PreserveColor, Option("Keep the photo's colours: its chroma, or a recoloured painting.", panel=_STYLE)
    ] = PreserveColor.NONE
    init: Annotated[
        str,
        Option(
            "Start: the photo in the style's colours, the photo itself, …",
            metavar="|".join([*INITS, "FILE"]),
            panel=_DESCENT,
        ),
    ] = "colors"
    margin: Annotated[
        int, Option("Pixels around the photo that are worked on and cut off: a clean border.", min=0, panel=_DESCENT)
    ] = 16
    scales: Annotated[
        int,
        Option(
            "Sizes worked through from coarse to fine, each 1.4 times the last; 0: from 256 px.", min=0, panel=_DESCENT
        ),
    ] = 0
    optimizer: Annotated[Optimizer, Option("How the pixels are moved.", panel=_DESCENT)] = Optimizer.LBFGS
    learning_rate: Annotated[
        float,
        Option(
            "Step length; 0 takes the optimizer's own (Adam 0.02, L-BFGS 1).", min=0, max=_LARGEST_RATE, panel=_DESCENT
        ),
    ] = 0.0
    history: Annotated[int, Option("Past steps that L-BFGS learns from.", min=1, panel=_DESCENT)] = 10
    average: Annotated[
        float,
        Option("End each scale with the average of its images, with this decay.", min=0, below=1, panel=_DESCENT),
    ] = 0.0
    content_weight: Annotated[float, Option("Of keeping what is in the photo.", min=0, panel=_LOSS)] = 0.2
    style_weight: Annotated[float, Option("Of looking painted like the style.", min=0, panel=_LOSS)] = 1.0
    motif_weight: Annotated[
        float,
        Option("Of shapes from the painting: patches become like the most similar there.", min=0, panel=_LOSS),
    ] = 0.0
    tv_weight: Annotated[float, Option("Of smoothness between neighbouring pixels.", min=0, panel=_LOSS)] = 0.0
    chroma_weight: Annotated[
        float, Option("Of smoothness of the colours alone: no coloured grain.", min=0, panel=_LOSS)
    ] = 3.0
    range_weight: Annotated[float, Option("Of staying between black and white.", min=0, panel=_LOSS)] = 10.0
    content_layers: Annotated[
        tuple[str, ...],
        Option("Layers that say what is in it.", metavar="NAME[:WEIGHT],…", panel=_LOSS, read=read_names),
    ] = ()
    style_layers: Annotated[
        tuple[str, ...],
        Option("Layers that say how it is painted.", metavar="NAME[:WEIGHT],…", panel=_LOSS, read=read_names),
    ] = ()
    content_layer_weights: tuple[float, ...] = ()
    style_layer_weights: tuple[float, ...] = ()
    loss: Annotated[
        LossForm, Option("Distances divided by the target's energy, or plain means summed.", panel=_LOSS)
    ] = LossForm.RELATIVE
    gram: Annotated[GramForm, Option("What Gram matrices are divided by: h·w, c·h·w, nothing.", panel=_LOSS)] = (
        GramForm.POSITIONS
    )
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_options(self)
        if self.content_weight == 0 and self.style_weight == 0:
            raise SettingsError("--content-weight 0 and --style-weight 0: nothing is left to optimize")
        self._take_layer_weights("content")
        self._take_layer_weights("style")

    @property
    def starts_painted(self) -> bool:
        """Whether `init` names a trained style, which paints the start."""
        return Path(self.init).suffix == TRAINED

    def _take_layer_weights(self, kind: str) -> None:
        option, weights = f"--{kind}-layers", tuple(getattr(self, f"{kind}_layer_weights"))
        names, found = split_weights(getattr(self, f"{kind}_layers"), option)
        weights = found or weights
        object.__setattr__(self, f"{kind}_layers", names)
        object.__setattr__(self, f"{kind}_layer_weights", weights)
        if weights and len(weights) != len(names):
            raise SettingsError(f"{option}: as many weights as layers are needed")
        if weights and (not all(0 <= weight < float("inf") for weight in weights) or sum(weights) == 0):
            raise SettingsError(f"{option}: weights must be finite, at least 0, and not all of them 0")


def split_weights(texts: Sequence[str], option: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Part `relu1_1:0.5`, `relu3_1` into names and weights, 1 where one is left out; without any there are none.

    Raises:
        SettingsError: a weight is no number, or there is one without a name; the message names `option`.
    """
    names, weights = [], []
    for text in texts:
        name, colon, weight = text.partition(":")
        if not name.strip():
            raise SettingsError(f"{option} {text}: names no layer")
        names.append(name.strip())
        try:
            weights.append(float(weight) if colon else None)
        except ValueError:
            raise SettingsError(f"{option} {text}: '{weight}' is no weight; give NAME:NUMBER") from None
    if all(weight is None for weight in weights):
        return tuple(names), ()
    return tuple(names), tuple(1.0 if weight is None else weight for weight in weights)


@dataclass(frozen=True)
class NetworkSettings:
    """Which network judges, and how it is fed.

    Attributes:
        backbone, weights: see `dltool.backbones.registry.create_backbone`.
        pooling: what its max-pooling layers do.
        pixel_mean, pixel_std: it sees (x - mean) / std of R, G, B in [0, 1]; None for what belongs to its weights.
        precision: of its arithmetic.
    """

    backbone: Backbone = DEFAULT_BACKBONE
    weights: Weights = "default"
    pooling: Annotated[Pooling, Option("What the network's max poolings do.", panel=_NETWORK)] = Pooling.MAX
    pixel_mean: Annotated[
        tuple[float, ...] | None,
        Option("Subtracted from R,G,B in 0..1.", metavar="R,G,B", shown="", panel=_NETWORK, read=read_rgb),
    ] = None
    pixel_std: Annotated[
        tuple[float, ...] | None,
        Option("Divides R,G,B then.", above=0, metavar="R,G,B", shown="", panel=_NETWORK, read=read_rgb),
    ] = None
    precision: PrecisionOption = Precision.AUTO

    __post_init__ = check_options


@dataclass(frozen=True)
class Extras:
    """What else is written beside each image: itself every `save_every` steps, and a GIF of how it came to be."""

    save_every: Annotated[int, Option("Also write the image every so many steps.", min=0, panel=_MORE)] = 0
    gif: Annotated[bool, Option("Also write a GIF of how it came to be.", panel=_MORE)] = False

    __post_init__ = check_options

    def step_path(self, output: Path, step: int) -> Path:
        """Where the image at `step` goes."""
        return output.with_name(f"{output.stem}_{step:04d}{output.suffix}")

    def gif_path(self, output: Path) -> Path:
        """Where the time-lapse goes."""
        return output.with_suffix(".gif")

    def paths(self, output: Path, steps: int) -> list[Path]:
        """All that may be written beside `output` in a run of so many steps."""
        lapse = [self.gif_path(output)] if self.gif else []
        if not self.save_every:
            return lapse
        return lapse + [self.step_path(output, step) for step in range(0, steps + 1, self.save_every)]


@dataclass(frozen=True)
class GridSettings:
    """Whether each photo becomes a sheet of small results, and of what; without layers or ratios, what suits."""

    grid: Annotated[bool, Option("One labelled sheet of small results: layers by ratios.", panel=_MORE)] = False
    grid_layers: Annotated[
        tuple[str, ...], Option("Content layers, a row each.", metavar="NAME,…", panel=_MORE, read=read_names)
    ] = ()
    grid_ratios: Annotated[
        tuple[float, ...],
        Option("Style : content, a column each.", above=0, metavar="1,10,100", panel=_MORE, read=read_numbers),
    ] = ()

    __post_init__ = check_options


@dataclass(frozen=True)
class FramesSettings:
    """Whether the content is images in time, and how much of the loss holds still what stands still."""

    frames: Annotated[bool, Option("CONTENT is an animation, or a folder of frames, in time.", panel=_MORE)] = False
    hold_weight: Annotated[float, Option("Of holding still what stands still.", min=0, panel=_MORE)] = 200.0

    __post_init__ = check_options
