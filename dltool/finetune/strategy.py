"""`--strategy auto`: from the data's size and its likeness to ImageNet to a strategy, with the reason."""

from dataclasses import dataclass

from dltool.finetune.probe import Probe
from dltool.finetune.settings import Strategy

# A linear probe that gets this far says that the frozen features already tell the classes apart.
SIMILAR_ACCURACY = 0.9
ENOUGH_ACCURACY = 0.995
# From here on there is enough to learn features from.
LARGE_PER_CLASS = 500
TINY_SIDE = 64
TINY_SAMPLES = 1000


@dataclass(frozen=True)
class Decision:
    """The strategy and the sentence that says why."""

    strategy: Strategy
    reason: str


def choose_strategy(probe: Probe, samples: int, num_classes: int) -> Decision:
    """The rule of size × similarity (Stanford cs231n, "Transfer Learning"), similarity measured by the linear probe.

    | | probe ≥ 90 %: similar | below: different |
    |---|---|---|
    | fewer than 500 images per class | features | partial: the last blocks too |
    | more | two-phase (features from 99.5 % on) | full |
    """
    per_class = samples / num_classes
    found = (
        f"a linear probe on the frozen features reaches {100 * probe.accuracy:.1f} % "
        f"({probe.folds}-fold cross-validation) with {per_class:.0f} pictures per class"
    )
    large = per_class >= LARGE_PER_CLASS
    if probe.accuracy >= ENOUGH_ACCURACY:
        return Decision(Strategy.FEATURES, f"{found}: there is hardly anything to gain, so only a head is trained")
    if probe.accuracy >= SIMILAR_ACCURACY and not large:
        return Decision(
            Strategy.FEATURES,
            f"{found}: like ImageNet, and too few to improve its features, so only a head is trained",
        )
    if probe.accuracy >= SIMILAR_ACCURACY:
        return Decision(
            Strategy.TWO_PHASE, f"{found}: like ImageNet and many, so first the head, then everything gently"
        )
    if not large:
        return Decision(
            Strategy.PARTIAL, f"{found}: unlike ImageNet but few, so the last blocks are trained with the head"
        )
    return Decision(Strategy.FULL, f"{found}: unlike ImageNet and many, so everything is trained")
