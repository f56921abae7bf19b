"""Models that a run writes while it trains: the best one so far, and every epoch's where that is asked for."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dltool.finetune.classifier_file import TrainedClassifier
from dltool.finetune.settings import FinetuneSettings
from dltool.settings import as_plain
from dltool.training import distributed
from dltool.training.model_file import save_model
from dltool.training.run_folder import RunFolder


class ModelSaver:
    """Writes models into a run's folder, in the first process."""

    def __init__(self, classifier: TrainedClassifier, settings: FinetuneSettings, run: RunFolder | None) -> None:
        self._classifier = classifier
        self._settings = settings
        self._run = run if distributed.rank() == 0 else None

    def save_epoch(self, model: nn.Module, epoch: int) -> None:
        """Write `checkpoints/epoch-003.safetensors`, if that is asked for."""
        if self._run is not None and self._settings.keep_checkpoints:
            path = self._run.path / "checkpoints" / f"epoch-{epoch:03d}.safetensors"
            self._save(path, model.state_dict(), {"epoch": epoch})

    def save_best(self, tensors: Mapping[str, Tensor], best: Mapping[str, Any]) -> None:
        """Write the best model so far as the run's, so that a run that never ends has one too."""
        if self._run is not None:
            found = {"epoch": best["epoch"], "accuracy": best["val_accuracy"], "loss": best["val_loss"]}
            self._save(self._run.model, tensors, {"best_so_far": found})

    def _save(self, path: Path, tensors: Mapping[str, Tensor], metrics: dict[str, Any]) -> None:
        """Write a model whose tensors are the classifier's or, while a head is trained alone, its head's."""
        if not any(name.startswith("body.") for name in tensors):
            head = {f"head.{name}": tensor for name, tensor in tensors.items()}
            body = self._classifier.module.body.state_dict()
            tensors = head | {f"body.{name}": tensor for name, tensor in body.items()}
        file = self._classifier.to_file(metrics, as_plain(self._settings))
        save_model(path, replace(file, tensors=dict(tensors)))
