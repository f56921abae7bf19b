"""Style transfer by optimizing the image itself.

The Python API: `stylize` for one image, `stylize_files` for many; both are generators of small dataclasses.
"""

from dltool.lazy import lazy_names
from dltool.stylize.settings import Optimizer, StylizeSettings

__all__ = ["FeatureNetwork", "Optimizer", "StyleTargets", "StylizeSettings", "stylize", "stylize_files"]

_HOMES = {
    "FeatureNetwork": "dltool.stylize.features",
    "StyleTargets": "dltool.stylize.optimize",
    "stylize": "dltool.stylize.optimize",
    "stylize_files": "dltool.stylize.files",
}

__getattr__ = lazy_names(__name__, _HOMES)
