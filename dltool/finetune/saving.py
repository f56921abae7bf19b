"""Models that a run writes while it trains: the best one so far, and every epoch's where that is asked for."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dltool.finetune.classifier_file import TrainedClassifier
from dltool.finetune.setup import Workbench
from dltool.settings import as_plain
from dltool.training import distributed
from dltool.training.model_file import save_model
from dltool.training.run_folder import RunFolder


def epoch_saver(
    bench: Workbench, classifier: TrainedClassifier, run: RunFolder | None
) -> Callable[[nn.Module, int], None]:
    """What writes `checkpoints/epoch-003.safetensors` after an epoch, if that is asked for."""
    if not bench.settings.keep_checkpoints or run is None or distributed.rank() != 0:
        return lambda model, epoch: None

    def save(model: nn.Module, epoch: int) -> None:
        path = run.path / "checkpoints" / f"epoch-{epoch:03d}.safetensors"
        _save(path, bench, classifier, model.state_dict(), {"epoch": epoch})

    return save


def best_saver(
    bench: Workbench, classifier: TrainedClassifier, run: RunFolder | None
) -> Callable[[Mapping[str, Tensor], Mapping[str, Any]], None]:
    """What writes the best model so far as the run's, so that a run that never ends has one too."""
    if run is None or distributed.rank() != 0:
        return lambda tensors, best: None
    return lambda tensors, best: _save(run.model, bench, classifier, tensors, {"best_so_far": dict(best)})


def _save(
    path: Path,
    bench: Workbench,
    classifier: TrainedClassifier,
    tensors: Mapping[str, Tensor],
    metrics: dict[str, Any],
) -> None:
    """Write a model whose tensors are the classifier's or, while a head is trained alone, its head's."""
    if not any(name.startswith("body.") for name in tensors):
        head = {f"head.{name}": tensor for name, tensor in tensors.items()}
        tensors = head | {f"body.{name}": tensor for name, tensor in classifier.module.body.state_dict().items()}
    file = classifier.to_file(metrics, as_plain(bench.settings))
    save_model(path, replace(file, tensors=dict(tensors)))
