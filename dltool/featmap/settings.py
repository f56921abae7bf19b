"""Everything that decides what `featmap` draws, as options; free of torch, so that the help page is quick."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from dltool.backbones import DEFAULT_BACKBONE
from dltool.errors import SettingsError, did_you_mean
from dltool.settings import Backbone, Option, Seed, Weights, check_options

_MAPS, _WHY, _LOOKS_FOR, _NETWORK = "Maps", "Why", "What it looks for", "Network"


class Method(StrEnum):
    """How it is found out which pixels made the network decide."""

    GRADCAM = "gradcam"
    GRADCAM_PLUS_PLUS = "gradcam++"
    LAYERCAM = "layercam"
    EIGENCAM = "eigencam"
    SCORECAM = "scorecam"
    SALIENCY = "saliency"
    SMOOTHGRAD = "smoothgrad"
    INTEGRATED_GRADIENTS = "integrated-gradients"
    GUIDED_BACKPROP = "guided-backprop"
    OCCLUSION = "occlusion"


LAYER_METHODS = (Method.GRADCAM, Method.GRADCAM_PLUS_PLUS, Method.LAYERCAM, Method.EIGENCAM, Method.SCORECAM)


class Scale(StrEnum):
    """Whether the maps of one image that can be compared, a layer's or a method's, share one scale of colours."""

    SHARED = "shared"
    EACH = "each"


class Fit(StrEnum):
    """How an image becomes what the network sees: whole, by its own square slid over it, or its centre's square."""

    WHOLE = "whole"
    SLIDE = "slide"
    CROP = "crop"


@dataclass(frozen=True)
class Channels:
    """Which channels of a layer are drawn: the `count` strongest (None for all), or those of `indices`."""

    count: int | None = 16
    indices: tuple[int, ...] = ()


def read_channels(text: str) -> Channels:
    """Read `16` (the strongest), `all`, or a list such as `3,7,12` (a single one is `3,`).

    Raises:
        ValueError: none of these.
    """
    words = [word.strip() for word in text.split(",")]
    numbers = [word for word in words if word]
    if text.strip() == "all":
        return Channels(count=None)
    if not numbers or not all(number.isdecimal() for number in numbers):
        raise ValueError("give a number of channels, 'all', or a list such as 3,7,12")
    if len(words) > 1:
        return Channels(indices=tuple(int(number) for number in numbers))
    if int(text) < 1:
        raise ValueError("at least 1 is needed")
    return Channels(count=int(text))


@dataclass(frozen=True)
class FeatmapFiles:
    """Which images, and the folder, or for one page the file, that is written."""

    images: Annotated[tuple[Path, ...], Option("Images, or folders of them.", argument=True)] = ()
    output: Annotated[
        Path | None,
        Option("Where the pages go; a file for one image.", flags=("--output", "-o"), metavar="FOLDER|FILE"),
    ] = None

    __post_init__ = check_options


@dataclass(frozen=True)
class LookSettings:
    """What several kinds of pages have in common.

    Attributes:
        layer: names and patterns; empty for what suits.
        size: shorter side of what the network sees, in pixels, of a dream the longest side; None for what suits.
        fit: what the network sees of an image.
        scale: whether maps that can be compared share one scale.
        raw: also write the numbers.
        colormap: matplotlib's name; None for what suits.
        channels: which of each layer's; None for what suits.
        steps: of what takes steps; None for what suits.
        batch_size: images, or variants of one, that go through the network at once.
    """

    layer: Annotated[
        tuple[str, ...],
        Option(
            "A layer, or a pattern such as 'layer3.*'; repeat for more. With --method the one to look at.",
            flags=("--layer", "-l"),
            metavar="NAME",
        ),
    ] = ()
    size: Annotated[int | None, Option("Shorter side that the network sees.", min=1, shown="the weights'")] = None
    fit: Annotated[Fit, Option("It sees the image whole, by its own square slid over it, or its centre's square.")] = (
        Fit.WHOLE
    )
    scale: Annotated[Scale, Option("One scale of colours for the maps of a layer or method, or each its own.")] = (
        Scale.SHARED
    )
    raw: Annotated[bool, Option("Also write the numbers, as .npz.")] = False
    colormap: Annotated[
        str | None, Option("matplotlib's name.", metavar="NAME", shown="viridis; turbo over photos")
    ] = None
    channels: Annotated[
        Channels | None,
        Option(
            "The N strongest, all, or these.",
            metavar="N|all|3,7,12",
            shown="16; all filters",
            panel=_MAPS,
            read=read_channels,
        ),
    ] = None
    steps: Annotated[
        int | None,
        Option(
            "Of --maximize, of --dream at each size, or of integrated gradients.",
            min=1,
            shown="256, 12, 256",
        ),
    ] = None
    batch_size: Annotated[int, Option("Images, or variants of one, that the network sees at once.", min=1)] = 8

    __post_init__ = check_options


@dataclass(frozen=True)
class Questions:
    """What is asked of the network; without any, its maps.

    Attributes:
        list_layers: which layers are there.
        method: which pixels made it decide, by these methods; as typed, see `parse_methods`.
        filters: what its first layer's weights look like.
        maximize: what excites these channels and classes most.
        dream: what the layer of this name sees more of.
        traverse: how many of a code's numbers, those that change the image most, are gone along.
    """

    list_layers: Annotated[bool, Option("Print every layer with its output's size, and leave.")] = False
    method: Annotated[
        tuple[str, ...],
        Option(
            "Which pixels made it decide; several give one comparison page.",
            flags=("--method", "-m"),
            metavar="|".join([*Method, "all"]),
            panel=_WHY,
        ),
    ] = ()
    filters: Annotated[bool, Option("The first layer's weights as images.", panel=_LOOKS_FOR)] = False
    maximize: Annotated[
        tuple[str, ...],
        Option("The image that excites it most; repeat for more.", metavar="LAYER:CHANNEL|CLASS", panel=_LOOKS_FOR),
    ] = ()
    dream: Annotated[
        str | None, Option("Let a layer see more of what it sees.", metavar="LAYER", shown="", panel=_LOOKS_FOR)
    ] = None
    traverse: Annotated[
        int | None,
        Option("Images along the N latent numbers that do most.", min=1, metavar="N", shown="", panel=_LOOKS_FOR),
    ] = None

    __post_init__ = check_options


@dataclass(frozen=True)
class MapSettings:
    """Settings of feature-map sheets.

    Attributes:
        layers: names and patterns; empty for a spread from first to last.
        channels: which of each layer's.
        scale: whether the maps of a layer share one scale.
        colormap: matplotlib's name.
        fit: what the network sees of an image.
        gif: also write an animation through the depth.
        raw: also write the numbers, as .npz.
        batch_size: images that go through the network at once.
    """

    layers: tuple[str, ...] = ()
    channels: Channels = Channels()
    scale: Scale = Scale.SHARED
    colormap: str = "viridis"
    fit: Fit = Fit.WHOLE
    gif: Annotated[bool, Option("Also an animation through the depth.", panel=_MAPS)] = False
    raw: bool = False
    batch_size: int = 8

    __post_init__ = check_options


@dataclass(frozen=True)
class WhySettings:
    """Settings of explanations: which pixels made the network decide.

    Attributes:
        methods: one column of the sheet each.
        classes: names or numbers, one row each; empty for the class with the highest score.
        contrast: with two classes, also what speaks for the first rather than the second.
        layer: the layer that the CAM methods look at; empty for the last one with a map.
        alpha: how much of the colours covers the photo, 0 to 1.
        colormap: matplotlib's name.
        scale: whether a method's maps for several classes share one scale, by how probable the classes are.
        fit: what the network sees of an image.
        score: also measure how far each map can be trusted, by deletion and insertion.
        sanity: also draw the maps while more and more of the weights are random, and how far they correlate.
        masks: a folder of where the objects are, to see whether the maps point at them; None for none.
        samples: noisy copies that smoothgrad averages.
        noise: their standard deviation, as a share of the input's range.
        steps: gradients that integrated gradients may take; they stop when their sum is the score's change.
        window: side in pixels of the square that occlusion covers; 0 for an eighth of the input.
        batch_size: images, or variants of one image, that go through the network at once.
        raw: also write the maps as .npz.
        seed: of smoothgrad's noise.
    """

    methods: tuple[Method, ...] = (Method.GRADCAM,)
    classes: Annotated[
        tuple[str, ...],
        Option(
            "Explain this class; repeat for more.",
            flags=("--class", "-c"),
            metavar="NAME|INDEX",
            shown="the top one",
            panel=_WHY,
        ),
    ] = ()
    contrast: Annotated[bool, Option("Of two classes, also what speaks for one only.", panel=_WHY)] = False
    layer: str = ""
    alpha: Annotated[float, Option("How much the colours cover the photo.", min=0, max=1, panel=_WHY)] = 0.5
    colormap: str = "turbo"
    scale: Scale = Scale.SHARED
    fit: Fit = Fit.WHOLE
    score: Annotated[bool, Option("Measure each map by deletion and insertion.", panel=_WHY)] = False
    sanity: Annotated[bool, Option("Draw the maps of ever more random weights.", panel=_WHY)] = False
    masks: Annotated[
        Path | None,
        Option("White where the objects are: do maps point at them?", metavar="FOLDER", shown="", panel=_WHY),
    ] = None
    samples: Annotated[int, Option("Noisy copies for smoothgrad.", min=1, panel=_WHY)] = 25
    noise: float = 0.15
    steps: int = 256
    window: Annotated[int, Option("Side of occlusion's square; 0 is an eighth of --size.", min=0, panel=_WHY)] = 0
    batch_size: int = 8
    raw: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_options(self)
        if self.contrast and len(self.classes) != 2:
            raise SettingsError("--contrast: exactly two --class options are needed")


@dataclass(frozen=True)
class DreamSettings:
    """Settings of images made by gradient ascent: `--maximize` and `--dream`.

    Attributes:
        steps: of gradient ascent, for a dream at each of its octaves.
        size: side of a maximizing image, longest side of a dream, in pixels.
        octaves: sizes that a dream works through, each 1.4 times the last.
        seed: of the start and of the jitter.
    """

    steps: int = 256
    size: int = 224
    octaves: int = 4
    seed: int = 0


@dataclass(frozen=True)
class NetworkSettings:
    """Which network is looked into: a backbone with its weights, or a model file. `seed` is of all that is random."""

    backbone: Backbone = DEFAULT_BACKBONE
    weights: Weights = "default"
    model: Annotated[
        Path | None,
        Option(
            "A model of finetune, ae train or gan train, instead of --backbone.",
            metavar="FILE",
            shown="",
            panel=_NETWORK,
        ),
    ] = None
    seed: Seed = 0

    __post_init__ = check_options


def parse_methods(texts: Sequence[str]) -> tuple[Method, ...]:
    """Read `--method`: names, lists of names with commas, or `all`.

    Raises:
        SettingsError: no such method; the message suggests near names.
    """
    names = [name.strip() for text in texts for name in text.split(",") if name.strip()]
    known = [method.value for method in Method]
    for name in names:
        if name not in known and name != "all":
            hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
            raise SettingsError(f"--method {name}: no such method{hint}")
    if "all" in names:
        return tuple(Method)
    return tuple(dict.fromkeys(Method(name) for name in names))
