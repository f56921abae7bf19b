"""What goes wrong with GANs, told from the figures of an epoch and said in words, once each time it begins."""

from dataclasses import dataclass

_WON = 0.98
_EPOCHS_WON = 2
_START = 0.25
_FEW = 0.5
_DROP = 0.6


@dataclass
class Health:
    """Watches the epochs of one run; everything in it can be saved as it is."""

    epochs_won: int = 0
    won: bool = False
    most_diverse: float = 0.0
    few: bool = False

    def look(
        self, real_accuracy: float, fake_accuracy: float, diversity: float | None, progress: float, penalized: bool
    ) -> list[str]:
        """Return what there is to say after an epoch.

        Args:
            real_accuracy, fake_accuracy: shares of real and generated images that the discriminator told right.
            diversity: the samples' variance over the real images', if it was measured.
            progress: share of the training that is done.
            penalized: whether the discriminator's gradients are, so that `--gamma` is there to be turned.
        """
        said = []
        remedy = "a larger --gamma" if penalized else "--arch modern"
        self.epochs_won = self.epochs_won + 1 if min(real_accuracy, fake_accuracy) >= _WON else 0
        # At the start it always wins for a while: the generator makes nothing yet.
        won = self.epochs_won >= _EPOCHS_WON and progress >= _START
        began, self.won = won and not self.won, won
        if began:
            said.append(
                f"the discriminator has won: it tells {100 * real_accuracy:.0f} % of the real and "
                f"{100 * fake_accuracy:.0f} % of the generated pictures, so the generator learns little from it; "
                f"try --augment on, {remedy}, or more pictures"
            )
        if diversity is not None:
            said += self._look_at_diversity(diversity, progress, remedy)
        return said

    def _look_at_diversity(self, diversity: float, progress: float, remedy: str) -> list[str]:
        self.most_diverse = max(self.most_diverse, diversity)
        # The first samples are all alike: only what was reached, or is still missing later, says something.
        few = diversity < _DROP * min(self.most_diverse, 1.0) or (progress > 1 / 3 and diversity < _FEW)
        began, self.few = few and not self.few, few
        if not began:
            return []
        return [
            f"the samples lose diversity: {100 * diversity:.0f} % of the real pictures' variance; the best snapshot "
            f"so far is kept; try {remedy} or a larger --batch-size"
        ]
