"""Training picture classifiers, and using them.

The Python API: `finetune` trains (a generator of small dataclasses), `load_classifier` and `Scorer` answer.
"""

from typing import Any

from dltool.finetune.settings import FinetuneSettings, Strategy

__all__ = ["FinetuneSettings", "Scorer", "Strategy", "Surroundings", "finetune", "load_classifier"]

_HOMES = {
    "Scorer": "dltool.finetune.score",
    "Surroundings": "dltool.finetune.train",
    "finetune": "dltool.finetune.train",
    "load_classifier": "dltool.finetune.classifier_file",
}


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: the command line reads the settings' defaults without waiting for torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
