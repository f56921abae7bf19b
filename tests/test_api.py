"""The names that every room offers to scripts and notebooks, and those that the pages show."""

import ast
import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

import dltool
from tests.test_snippets import PAGES, python_blocks

_ROOMS = sorted(path.parent.name for path in Path(dltool.__file__).parent.glob("*/__init__.py"))


@pytest.mark.parametrize("room", _ROOMS)
def test_a_name_that_a_room_offers_is_no_module_of_that_name(room: str) -> None:
    package = importlib.import_module(f"dltool.{room}")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"dltool.{room}.{module.name}")  # which makes it an attribute of the package
    for name in getattr(package, "__all__", ()):
        assert not isinstance(getattr(package, name), ModuleType), name


@pytest.mark.parametrize(
    "room", ["autoencoder", "cluster", "denoise", "featmap", "finetune", "gan", "pages", "stylize"]
)
def test_what_a_room_offers_can_be_called(room: str) -> None:
    package = importlib.import_module(f"dltool.{room}")
    assert package.__all__ and set(getattr(package, "_HOMES", ())) <= set(package.__all__)
    for name in package.__all__:
        value = getattr(package, name)
        assert callable(value) or name.isupper(), name
        assert name.isupper() or value.__doc__, name


@pytest.mark.parametrize("page", PAGES)
def test_every_name_that_a_page_imports_is_there(page: str) -> None:
    imports = [node for block in python_blocks(page) for node in ast.walk(ast.parse(block))]
    own = [node for node in imports if isinstance(node, ast.ImportFrom) and node.module.startswith("dltool")]
    assert own
    for node in own:
        module = importlib.import_module(node.module)
        for name in node.names:
            assert not isinstance(getattr(module, name.name), ModuleType), f"{node.module}.{name.name}"


def test_what_is_not_offered_is_said_to_be_absent() -> None:
    with pytest.raises(AttributeError, match=r"'dltool\.gan' has no attribute 'nothing'"):
        importlib.import_module("dltool.gan").nothing  # noqa: B018 (asking is the test)
