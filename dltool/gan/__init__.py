"""`dltool gan`: generators that train without collapsing, images drawn from them, figures of how good they are.

The Python API: `train_gan` trains, `load_generator` reads what came of it, `generate` draws images as tensors,
`plan_samples` and `write_samples` as files; `evaluate_samples` compares them with real ones. What takes long is a
generator of small dataclasses that returns its result.
"""

from dltool.gan.evaluate_settings import EvaluateSettings, RealData
from dltool.gan.sample_settings import SampleSettings
from dltool.gan.settings import GanSettings
from dltool.lazy import lazy_names

__all__ = [
    "EvaluateSettings",
    "GanSettings",
    "GanStep",
    "RealData",
    "SampleSettings",
    "evaluate_samples",
    "generate",
    "load_generator",
    "plan_samples",
    "train_gan",
    "write_samples",
]

_HOMES = {
    "GanStep": "dltool.gan.step",
    "evaluate_samples": "dltool.gan.evaluate",
    "generate": "dltool.gan.sample",
    "load_generator": "dltool.gan.generator_file",
    "plan_samples": "dltool.gan.sample_files",
    "train_gan": "dltool.gan.train",
    "write_samples": "dltool.gan.sample_files",
}

__getattr__ = lazy_names(__name__, _HOMES)
