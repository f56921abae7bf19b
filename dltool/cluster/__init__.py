"""Grouping unlabelled images and points.

The Python API: `open_source` finds the data, `group` groups it (both are generators of small dataclasses).
"""

from dltool.cluster.settings import ClusterSettings, Method
from dltool.lazy import lazy_names

__all__ = ["ClusterContext", "ClusterSettings", "Method", "group", "open_source"]

_HOMES = {
    "ClusterContext": "dltool.cluster.grouping",
    "group": "dltool.cluster.grouping",
    "open_source": "dltool.cluster.source",
}

__getattr__ = lazy_names(__name__, _HOMES)
