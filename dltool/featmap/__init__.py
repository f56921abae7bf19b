"""Looking into a network: its layers, their maps, which pixels made it decide, what it looks for.

The Python API: `list_layers`, `feature_maps`, `explain`, `measure_trust`, `maximize`, `dream` for one network and its
inputs, and `map_files`, `explain_files`, `dream_files` for files; what takes long is a generator.
"""

from typing import Any

from dltool.featmap.settings import Channels, DreamSettings, MapSettings, Method, Scale, WhySettings

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


def __getattr__(name: str) -> Any:
    # Loaded when first asked for: the command line reads the settings' defaults without waiting for torch.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
