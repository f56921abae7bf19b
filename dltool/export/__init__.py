"""Models as ONNX files, for programs without PyTorch.

The Python API: `export_model(settings)` writes the file and returns what is in it.
"""

from dltool.export.settings import ExportSettings
from dltool.lazy import lazy_names

__all__ = ["ExportSettings", "export_model"]

_HOMES = {"export_model": "dltool.export.write"}

__getattr__ = lazy_names(__name__, _HOMES)
