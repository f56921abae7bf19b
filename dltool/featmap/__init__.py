"""Looking into a network: its layers, their maps, which pixels made it decide, what it looks for.

The Python API: `list_layers`, `feature_maps`, `explain`, `measure_trust`, `maximize`, `dream` for one network and its
inputs, and `map_files`, `explain_files`, `dream_files` for files; what takes long is a generator.
"""

from dltool.featmap.settings import Channels, DreamSettings, MapSettings, Method, Scale, WhySettings
from dltool.lazy import lazy_names

_HOMES = {
    "Network": "dltool.featmap.network",
    "network_from_backbone": "dltool.featmap.network",
    "list_layers": "dltool.featmap.layers",
    "feature_maps": "dltool.featmap.activations",
    "explain": "dltool.featmap.methods",
    "measure_trust": "dltool.featmap.trust",
    "maximize": "dltool.featmap.excitation",
    "dream": "dltool.featmap.deepdream",
    "map_files": "dltool.featmap.files_maps",
    "explain_files": "dltool.featmap.files_why",
    "dream_files": "dltool.featmap.files_dream",
}

__all__ = [  # noqa: RUF022 (settings first, then what takes them)
    "Channels",
    "DreamSettings",
    "MapSettings",
    "Method",
    "Scale",
    "WhySettings",
    "Network",
    "dream",
    "dream_files",
    "explain",
    "explain_files",
    "feature_maps",
    "list_layers",
    "map_files",
    "maximize",
    "measure_trust",
    "network_from_backbone",
]

__getattr__ = lazy_names(__name__, _HOMES)
