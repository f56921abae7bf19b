"""Everything that decides what a stylized picture looks like; free of torch, so that the help page is quick."""

from dataclasses import dataclass
from enum import StrEnum

from dltool.errors import SettingsError


class Optimizer(StrEnum):
    """How the picture is moved down the loss."""

    LBFGS = "lbfgs"
    ADAM = "adam"


INITS = ("colors", "content", "noise", "style")


@dataclass(frozen=True)
class StylizeSettings:
    """Settings of one stylization; the defaults were chosen by `benchmarks/stylize_quality.py` and by eye.

    Attributes:
        size: longest side of the result in pixels.
        steps: evaluations of loss and gradient, over all scales.
        optimizer: L-BFGS (needs fewer steps) or Adam.
        content_weight, style_weight: of the two normalised losses (each near 1 for an unrelated picture).
        tv_weight: of the mean squared difference of neighbouring pixels; smooths.
        content_layers, style_layers: layer names; empty for the backbone's own choice.
        init: `colors` (the photo in the style's colours), `content`, `noise`, `style`, or a picture's path.
        scales: sizes that are optimized one after the other, each √2 larger, up to `size`.
        learning_rate: the step length of Adam in [0, 1] pixel units, or of L-BFGS in units of its own step; 0 for the
            optimizer's default.
        time: seconds that one picture may take; it then gets as many of `steps` as fit. None for no limit.
        seed: of the noise start and of untrained weights.
    """

    size: int = 512
    steps: int = 150
    optimizer: Optimizer = Optimizer.LBFGS
    content_weight: float = 0.2
    style_weight: float = 1.0
    tv_weight: float = 0.0
    content_layers: tuple[str, ...] = ()
    style_layers: tuple[str, ...] = ()
    init: str = "colors"
    scales: int = 3
    learning_rate: float = 0.0
    time: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("size", 1), ("steps", 1), ("scales", 1)):
            if getattr(self, name) < least:
                raise SettingsError(f"--{name} {getattr(self, name)}: at least {least} is needed")
        for name in ("content_weight", "style_weight", "tv_weight", "learning_rate"):
            if not 0 <= getattr(self, name) < float("inf"):
                option = name.replace("_", "-")
                raise SettingsError(f"--{option} {getattr(self, name)}: a finite number of at least 0 is needed")
        if self.content_weight == 0 and self.style_weight == 0:
            raise SettingsError("--content-weight 0 and --style-weight 0: nothing is left to optimize")
