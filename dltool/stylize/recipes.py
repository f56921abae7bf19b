"""Recipes: tables of settings under a name, the textbook's among them, or in a file of the user's own."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dltool.errors import SettingsError, did_you_mean

_FOLDER = Path(__file__).parent / "recipe_files"
_ORDER = ("default", "fast", "motifs", "fine", "gatys-vgg19", "gram-resnet50")


@dataclass(frozen=True)
class Recipe:
    """Values by the names of the command's options, and a line that says what for."""

    name: str
    description: str
    options: dict[str, Any]


def list_recipes() -> list[Recipe]:
    """The recipes that come with dltool."""
    return [load_recipe(name) for name in _ORDER]


def load_recipe(name: str) -> Recipe:
    """Find a recipe by its name, or read it from a .toml file.

    Raises:
        SettingsError: no such recipe, or a file that is no table of settings.
    """
    own = name.endswith(".toml")
    if not own and name not in _ORDER:
        hint = did_you_mean(name, _ORDER) or f"; there are {', '.join(_ORDER)}, or give a .toml file"
        raise SettingsError(f"--recipe {name}: no such recipe{hint}")
    path = Path(name) if own else _FOLDER / f"{name}.toml"
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"--recipe {name}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"--recipe {name}: not valid TOML ({error})") from error
    nested = next((key for key, value in table.items() if isinstance(value, dict)), None)
    if nested is not None:
        raise SettingsError(f"--recipe {name}: a recipe is a plain table of settings; [{nested}] has no place in it")
    return Recipe(name, str(table.pop("description", "")), table)
