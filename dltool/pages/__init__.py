"""The page of a run: one `index.html` that shows what came out, made of the run's files.

`write.py` makes it; one module per kind of run (`cluster_page.py`, `classifier_page.py`, …) reads the run's files into
a frozen dataclass, which a template of the same name shows.
"""

from dltool.lazy import lazy_names

__all__ = ["PageStep", "write_page"]
__getattr__ = lazy_names(__name__, {"PageStep": "dltool.pages.album", "write_page": "dltool.pages.write"})
