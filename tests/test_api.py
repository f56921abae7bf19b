"""The names that every room offers to scripts and notebooks."""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

import dltool

_ROOMS = sorted(path.parent.name for path in Path(dltool.__file__).parent.glob("*/__init__.py"))


@pytest.mark.parametrize("room", _ROOMS)
def test_a_name_that_a_room_offers_is_no_module_of_that_name(room: str) -> None:
    package = importlib.import_module(f"dltool.{room}")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"dltool.{room}.{module.name}")  # which makes it an attribute of the package
    for name in getattr(package, "__all__", ()):
        assert not isinstance(getattr(package, name), ModuleType), name
