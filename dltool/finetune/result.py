"""What a training run of a classifier tells of its phases and gives at its end."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dltool.data.splits import Dataset
from dltool.finetune.classifier_file import TrainedClassifier
from dltool.finetune.decide import Decided
from dltool.finetune.settings import FinetuneSettings
from dltool.finetune.setup import BlockParameters
from dltool.finetune.unlabelled import SpreadLabels


@dataclass(frozen=True)
class PhaseStart:
    """A phase begins; `parameters` say what it trains."""

    name: str
    epochs: int
    parameters: tuple[BlockParameters, ...]


@dataclass(frozen=True)
class FinetuneResult:
    """The model with the least validation loss, measured again on the path that `predict` takes.

    Attributes:
        metrics, test_metrics: `classification_metrics` on val and, where there is one, on test. Those of val are by
            heads that had not seen the image (`held_out_metrics`) where the model was fitted on train and val.
        cross_validation: then, the same of train and val together; else None.
        logits: of val and test, N × classes.
        epochs: epochs of the last phase that were run.
        precision: `bf16` or `fp32`, what the training computed in.
        name_matches: ImageNet labels that classes started from (`--head-init names`).
        unlabelled: what images without labels were worth, if there were any.
        continued: what was made of the classes of the own model that the run went on from, if it did.
    """

    classifier: TrainedClassifier
    settings: FinetuneSettings
    decision: Decided
    dataset: Dataset
    metrics: dict[str, Any]
    test_metrics: dict[str, Any] | None
    logits: dict[str, Tensor]
    epochs: int
    best_epoch: int
    parameters: tuple[BlockParameters, ...]
    history: tuple[dict[str, Any], ...]
    seconds: float
    precision: str
    name_matches: dict[str, list[str]]
    continued: dict[str, Any]
    cross_validation: dict[str, Any] | None = None
    unlabelled: SpreadLabels | None = None

    @property
    def figures(self) -> dict[str, Any]:
        """What was trained, why, and how well it does, as the JSON document has it."""
        own = ("name_matches", "continued", "epochs", "best_epoch", "metrics", "cross_validation", "test_metrics")
        own += ("unlabelled",)
        return {
            "strategy": self.settings.strategy,
            "reason": self.decision.reason,
            "probe": self.decision.probe,
            "classes": self.dataset.class_names,
            "counts": {name: len(split) for name, split in self.dataset.splits.items()},
            "parameters": {
                "trainable": sum(block.trainable for block in self.parameters),
                "total": sum(block.total for block in self.parameters),
                "blocks": self.parameters,
            },
            "training_seconds": round(self.seconds, 3),
            **{name: getattr(self, name) for name in own},
        }
