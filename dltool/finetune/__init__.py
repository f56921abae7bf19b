"""Training image classifiers, and using them.

The Python API: `finetune` trains (a generator of small dataclasses), `load_classifier` and `Scorer` answer.
"""

from dltool.finetune.settings import FinetuneSettings, Strategy
from dltool.lazy import lazy_names

__all__ = ["FinetuneSettings", "RunContext", "Scorer", "Strategy", "finetune", "load_classifier"]

_HOMES = {
    "Scorer": "dltool.finetune.score",
    "RunContext": "dltool.training.context",
    "finetune": "dltool.finetune.train",
    "load_classifier": "dltool.finetune.classifier_file",
}

__getattr__ = lazy_names(__name__, _HOMES)
