"""Values that become defaults of options: `--config FILE.toml`, a table per command, and stylize's `--recipe`."""

import tomllib
from pathlib import Path
from typing import Any

import typer

from dltool import outputs
from dltool.errors import SettingsError, did_you_mean


def load_config(context: typer.Context, path: Path | None) -> Path | None:
    """Option callback: make the file's table for this command the defaults of its parameters.

    Raises:
        SettingsError: the file cannot be read, has no table for the command, or names an option that does not exist.
    """
    if path is None or context.resilient_parsing:
        return path
    outputs.protect(path)
    table = _find_table(path, context.command_path.split()[1:])
    values = option_values(context, table, f"--config {path}")
    context.default_map = {**(context.default_map or {}), **values}
    return path


def apply_recipe(context: typer.Context, name: str | None) -> str | None:
    """Option callback: the recipe's values become defaults; flags and --config win over them."""
    if name is None or context.resilient_parsing:
        return name
    from dltool.stylize.recipes import load_recipe

    outputs.protect(Path(name))
    values: dict[str, Any] = option_values(context, load_recipe(name).options, f"--recipe {name}")
    context.default_map = {**values, **(context.default_map or {})}
    return name


def print_recipes(asked: bool) -> bool:
    """Option callback: print every recipe and leave."""
    if not asked:
        return asked
    from dltool.stylize.recipes import list_recipes

    for recipe in list_recipes():
        print(f"{recipe.name}: {recipe.description}")
        for option, value in recipe.options.items():
            print(f"    {option} = {value}")
    raise typer.Exit


def option_values(context: typer.Context, table: dict[str, Any], source: str) -> dict[str, Any]:
    """Map a table's keys, names of the command's options, to its parameters, and the values to words.

    Raises:
        SettingsError: there is no such option; the message begins with `source`.
    """
    names = {
        word.lstrip("-"): parameter
        for parameter in context.command.params
        if parameter.name != "config"
        # An option without a long name, such as cluster's -k, goes by its letter.
        for word in [word for word in parameter.opts if word.startswith("--")] or parameter.opts
    }
    values = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if name not in names:
            raise SettingsError(f"{source}: {context.info_name} has no option '{key}'{did_you_mean(name, names)}")
        parameter = names[name]
        values[parameter.name] = _as_words(value, parameter.nargs != 1 or getattr(parameter, "multiple", False))
    return values


def _find_table(path: Path, command: list[str]) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"--config {path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config {path}: not valid TOML ({error})") from error
    for word in command:
        if not isinstance(table.get(word), dict):
            raise SettingsError(f"--config {path}: no table [{'.'.join(command)}] in this file")
        table = table[word]
    return table


def _as_words(value: Any, takes_several: bool) -> Any:
    """A TOML value as the command line would give it, so that both are parsed and checked alike."""
    if isinstance(value, bool):
        return value
    words = [str(item) for item in value] if isinstance(value, list) else [str(value)]
    return words if takes_several else ",".join(words)
