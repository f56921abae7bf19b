"""Everything that decides what a stylized image looks like; free of torch, so that the help page is quick."""

from dataclasses import dataclass
from enum import StrEnum

from dltool.errors import SettingsError


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
_LARGEST_RATE = 1e9  # far beyond all sense, and steps can still be computed in float32


@dataclass(frozen=True)
class StylizeSettings:
    """Settings of one stylization; the defaults were chosen by `benchmarks/stylize_quality.py` and by eye.

    Attributes:
        size: longest side of the result in pixels; None for the photo's own size.
        steps: evaluations of loss and gradient, over all scales.
        optimizer: L-BFGS (needs fewer steps) or Adam.
        content_weight, style_weight: of the two losses (with `loss` relative each is near 1 for an unrelated image).
        tv_weight: of the mean squared difference of neighbouring pixels; smooths.
        range_weight: of the mean squared distance of the pixels to [0, 1].
        content_layers, style_layers: layer names; empty for the backbone's own choice.
        content_layer_weights, style_layer_weights: one for each layer, empty for equal ones. With `loss` relative
            only their proportions count.
        loss, gram: how features become the two losses; see LossForm and GramForm.
        init: `colors` (the photo in the style's colours), `content`, `noise`, `style`, or an image's path.
        scales: sizes that are optimized one after the other, each √2 larger, up to `size`; 0 starts at 256 pixels,
            with at least 3 scales.
        style_scale: size of the painting, and so of its strokes, in units of the result's size.
        strength: between the photo's own style (0) and the painting's (1).
        preserve_color: whether and how the photo keeps its colours.
        learning_rate: the step length of Adam in [0, 1] pixel units, or of L-BFGS in units of its own step; 0 for the
            optimizer's default.
        history: how many past steps L-BFGS learns the curvature from; fewer where memory does not hold them.
        average: each scale ends with the exponential average of its images with this decay; 0 takes the best one.
        time: seconds that one image may take; it then gets as many of `steps` as fit. None for no limit.
        max_memory: bytes that one image's optimization may take; None for what suits the device.
        seed: of the noise start and of untrained weights.
    """

    size: int | None = 512
    steps: int = 150
    optimizer: Optimizer = Optimizer.LBFGS
    content_weight: float = 0.2
    style_weight: float = 1.0
    tv_weight: float = 0.0
    range_weight: float = 10.0
    content_layers: tuple[str, ...] = ()
    style_layers: tuple[str, ...] = ()
    content_layer_weights: tuple[float, ...] = ()
    style_layer_weights: tuple[float, ...] = ()
    loss: LossForm = LossForm.RELATIVE
    gram: GramForm = GramForm.POSITIONS
    init: str = "colors"
    scales: int = 0
    style_scale: float = 1.0
    strength: float = 1.0
    preserve_color: PreserveColor = PreserveColor.NONE
    learning_rate: float = 0.0
    history: int = 10
    average: float = 0.0
    time: float | None = None
    max_memory: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("size", 1), ("steps", 1), ("scales", 0), ("history", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SettingsError(f"--{name} {value}: at least {least} is needed")
        for name in ("content_weight", "style_weight", "tv_weight", "range_weight", "learning_rate"):
            if not 0 <= getattr(self, name) < float("inf"):
                option = name.replace("_", "-")
                raise SettingsError(f"--{option} {getattr(self, name)}: a finite number of at least 0 is needed")
        if self.learning_rate > _LARGEST_RATE:
            raise SettingsError(f"--learning-rate {self.learning_rate}: at most {_LARGEST_RATE:g}")
        if self.content_weight == 0 and self.style_weight == 0:
            raise SettingsError("--content-weight 0 and --style-weight 0: nothing is left to optimize")
        if not 0 <= self.strength <= 1:
            raise SettingsError(f"--strength {self.strength}: a number from 0 to 1 is needed")
        if not 0 <= self.average < 1:
            raise SettingsError(f"--average {self.average}: a decay from 0 to below 1 is needed")
        if not 0.05 <= self.style_scale <= 20:
            raise SettingsError(f"--style-scale {self.style_scale}: a factor from 0.05 to 20 is needed")
        self._check_layer_weights("content")
        self._check_layer_weights("style")

    def _check_layer_weights(self, kind: str) -> None:
        weights = getattr(self, f"{kind}_layer_weights")
        if not weights:
            return
        if len(weights) != len(getattr(self, f"{kind}_layers")):
            raise SettingsError(f"--{kind}-layers: as many weights as layers are needed")
        if not all(0 <= weight < float("inf") for weight in weights) or sum(weights) == 0:
            raise SettingsError(f"--{kind}-layers: weights must be finite, at least 0, and not all of them 0")


def parse_layers(text: str | None, option: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Read `relu1_1:0.5,relu3_1` as names and weights; without any weight there are none, and 1 where one is left out.

    Raises:
        SettingsError: a weight is no number, or there is a text without a name; the message names `option`.
    """
    names, weights = [], []
    for part in (text or "").split(","):
        name, colon, weight = part.strip().partition(":")
        if not name:
            continue
        names.append(name.strip())
        try:
            weights.append(float(weight) if colon else None)
        except ValueError:
            raise SettingsError(f"{option} {part.strip()}: '{weight}' is no weight; give NAME:NUMBER") from None
    if text is not None and not names:
        raise SettingsError(f"{option} '{text}': names no layer")
    if all(weight is None for weight in weights):
        return tuple(names), ()
    return tuple(names), tuple(1.0 if weight is None else weight for weight in weights)
