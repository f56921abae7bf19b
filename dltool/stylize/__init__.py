"""Style transfer by optimizing the picture itself.

The Python API: `stylize` for one picture, `stylize_files` for many; both are generators of small dataclasses.
"""

from typing import Any

from dltool.stylize.settings import Optimizer, StylizeSettings

__all__ = ["FeatureNetwork", "Optimizer", "StyleTargets", "StylizeSettings", "stylize", "stylize_files"]

_HOMES = {
    "FeatureNetwork": "dltool.stylize.features",
    "StyleTargets": "dltool.stylize.optimize",
    "stylize": "dltool.stylize.optimize",
    "stylize_files": "dltool.stylize.files",
}


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: the command line reads the settings' defaults without waiting for torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
