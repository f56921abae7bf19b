"""Style transfer in one pass: a small network learns a painting once, and then paints any image.

The Python API: `train_style` makes a model file, `load_style` reads it, `paint` paints with it.
"""

from dltool.instant.settings import InstantSettings, TrainingPhotos
from dltool.lazy import lazy_names

__all__ = ["InstantSettings", "TrainingPhotos", "load_style", "paint", "train_style"]

_HOMES = {
    "paint": "dltool.instant.painting",
    "load_style": "dltool.instant.style_file",
    "train_style": "dltool.instant.train",
}

__getattr__ = lazy_names(__name__, _HOMES)
