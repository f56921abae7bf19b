"""Grouping unlabelled images and points.

The Python API: `open_source` finds the data, `group` groups it, `assign` puts new items into the groups of a model that
`load_groups` reads, `write_result` writes all files of a result. All but `load_groups` are generators that yield
progress and return the result; `dltool.events.finish` runs one to its end.
"""

from dltool.cluster.settings import ClusterData, ClusterMethod, ClusterSettings
from dltool.lazy import lazy_names

__all__ = [
    "ClusterData",
    "ClusterMethod",
    "ClusterSettings",
    "OutputFolder",
    "assign",
    "group",
    "load_groups",
    "open_source",
    "write_result",
]

_HOMES = {
    "OutputFolder": "dltool.cluster.output_folder",
    "assign": "dltool.cluster.assignment",
    "group": "dltool.cluster.grouping",
    "load_groups": "dltool.cluster.groups_file",
    "open_source": "dltool.cluster.source",
    "write_result": "dltool.cluster.result_files",
}

__getattr__ = lazy_names(__name__, _HOMES)
