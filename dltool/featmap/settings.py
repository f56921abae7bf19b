"""Everything that decides what `featmap` draws; free of torch, so that the help page is quick."""

from dataclasses import dataclass
from enum import StrEnum

from dltool.errors import SettingsError, did_you_mean


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
    """What the colours of a feature map are relative to."""

    MAP = "map"
    LAYER = "layer"


@dataclass(frozen=True)
class Channels:
    """Which channels of a layer are drawn: the `count` strongest (None for all), or those of `indices`."""

    count: int | None = 16
    indices: tuple[int, ...] = ()


@dataclass(frozen=True)
class MapSettings:
    """Settings of feature-map sheets.

    Attributes:
        layers: names and patterns; empty for a spread from first to last.
        channels: which of each layer's.
        scale: whether each map, or each layer, spans the whole colour map.
        colormap: matplotlib's name.
        gif: also write an animation through the depth.
        raw: also write the numbers, as .npz.
        batch_size: images that go through the network at once.
    """

    layers: tuple[str, ...] = ()
    channels: Channels = Channels()
    scale: Scale = Scale.MAP
    colormap: str = "viridis"
    gif: bool = False
    raw: bool = False
    batch_size: int = 8


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
        score: also measure how far each map can be trusted, by deletion and insertion.
        samples: noisy copies that smoothgrad averages.
        noise: their standard deviation, as a share of the input's range.
        steps: gradients that integrated gradients may take; they stop when their sum is the score's change.
        window: side in pixels of the square that occlusion covers; 0 for an eighth of the input.
        batch_size: images, or variants of one image, that go through the network at once.
        raw: also write the maps as .npz.
        seed: of smoothgrad's noise.
    """

    methods: tuple[Method, ...] = (Method.GRADCAM,)
    classes: tuple[str, ...] = ()
    contrast: bool = False
    layer: str = ""
    alpha: float = 0.5
    colormap: str = "turbo"
    score: bool = False
    samples: int = 25
    noise: float = 0.15
    steps: int = 256
    window: int = 0
    batch_size: int = 8
    raw: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise SettingsError(f"--alpha {self.alpha}: a number from 0 to 1 is needed")
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


def parse_channels(text: str) -> Channels:
    """Read `--channels`: `16` (the strongest), `all`, or a list such as `3,7,12` (a single one is `3,`).

    Raises:
        SettingsError: none of these.
    """
    words = [word.strip() for word in text.split(",")]
    numbers = [word for word in words if word]
    if text.strip() == "all":
        return Channels(count=None)
    if not numbers or not all(number.isdecimal() for number in numbers):
        raise SettingsError(f"--channels {text}: give a number of channels, 'all', or a list such as 3,7,12")
    if len(words) > 1:
        return Channels(indices=tuple(int(number) for number in numbers))
    if int(text) < 1:
        raise SettingsError(f"--channels {text}: at least 1 is needed")
    return Channels(count=int(text))


def parse_methods(texts: list[str]) -> tuple[Method, ...]:
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
