"""Turning settings dataclasses into a Typer command, and what was typed into settings."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from typing import Annotated, Any, get_args, get_origin

import typer

from dltool.cli.config import apply_recipe, load_config, print_recipes
from dltool.cli.console import Console
from dltool.cli.items import left_out
from dltool.cli.options import Talk
from dltool.errors import DltoolError, SettingsError
from dltool.images.folder import process_rank
from dltool.settings import COMMON, Option, Setting, Typed, choices_of, settings_of, spelling_of

_EAGER = {"config": load_config, "recipe": apply_recipe, "list-recipes": print_recipes}


@dataclass(frozen=True)
class Command:
    """One command: its function `run(console, typed, *groups)` in `module`, and the settings it is given.

    Both are named rather than imported, so that a help page waits for neither torch nor the other commands.

    Attributes:
        groups: `module:Class` of dataclasses, whose options stand on the help page in this order; without any there is
            nothing that a configuration file could say.
    """

    module: str
    help: str
    groups: tuple[str, ...] = ()

    def build(self, name: str) -> Callable[..., None]:
        """A function with a Typer signature, which makes the groups of what was typed and runs the command."""
        kinds = [_load(group) for group in self.groups]

        def call(context: typer.Context, **values: Any) -> None:
            console = Console(name, values["as_json"], values["quiet"])
            groups = [make_settings(kind, values) for kind in kinds]
            import_module(self.module).run(console, typed_options(context), *groups)
            if console.unreadable:
                for line in left_out(console.unreadable) if console.quiet else ():
                    console.warn(line)
                raise typer.Exit(DltoolError.exit_code)  # some files of many failed

        parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
        settings = _in_order([*kinds, Talk])
        parameters += [_parameter(setting) for setting in settings if kinds or setting.name != "config"]
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {each.name: each.annotation for each in parameters}
        call.__doc__ = self.help
        return call


def for_one_process(function: Callable[..., None], name: str) -> Callable[..., None]:
    """The function of a command whose work several processes would each do, and write, for themselves."""

    @wraps(function)
    def alone(*arguments: Any, **values: Any) -> None:
        count = process_rank()[1]
        if count > 1:
            raise SettingsError(
                f"{name}: works in one process, and torchrun started {count}; start it without torchrun"
            )
        function(*arguments, **values)

    return alone


def _in_order(kinds: Sequence[type]) -> list[Setting]:
    """The settings of all groups, each once, as the first group that has it says; common options come last."""
    found: dict[str, Setting] = {}
    for kind in kinds:
        for name, setting in settings_of(kind).items():
            found.setdefault(name, setting)
    return sorted(found.values(), key=lambda setting: setting.option.panel == COMMON)


def to_typer(function: Callable[..., None], name: str) -> Any:
    """The Typer command of a function, called by the last word of `name`."""
    single = typer.Typer(
        pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}, add_completion=False
    )
    single.command(name.split()[-1])(function)
    return typer.main.get_command(single)


def _load(name: str) -> type:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def make_settings(kind: type, values: dict[str, Any]) -> Any:
    """Make a settings dataclass of what the command line gave.

    Raises:
        SettingsError: a text that cannot be read; the message begins with the option as it was typed.
    """
    chosen = {}
    for name, setting in settings_of(kind).items():
        value = values[name]
        if value is None and setting.default == ():
            continue  # Typer knows no empty tuple
        if setting.option.read is not None and isinstance(value, str):
            try:
                value = setting.option.read(value)
            except ValueError as error:
                raise SettingsError(f"{setting.spelling} {value}: {error}") from None
        chosen[name] = value
    return kind(**chosen)


def typed_options(context: typer.Context) -> Typed:
    """What was given on the command line or in a configuration file, rather than left alone."""
    spellings, on_command_line = {}, set()
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source is None or source.name not in ("COMMANDLINE", "DEFAULT_MAP", "ENVIRONMENT"):
            continue
        long = [word for word in parameter.opts if word.startswith("--")]
        spellings[name] = (long or parameter.opts)[0]
        if source.name == "COMMANDLINE":
            on_command_line.add(name)
    return Typed(spellings, frozenset(on_command_line))


def _parameter(setting: Setting) -> inspect.Parameter:
    """The keyword parameter that Typer makes an option or an argument of."""
    option = setting.option
    default = inspect.Parameter.empty if setting.required else _shown_default(setting)
    more: dict[str, Any] = {"help": option.help, "metavar": _metavar(setting), "show_default": _show(setting)}
    if option.panel:
        more["rich_help_panel"] = option.panel
    if option.eager:
        more |= {"is_eager": True, "callback": _EAGER[option.eager]}
    choices = choices_of(setting)
    if choices:
        more["autocompletion"] = lambda: list(choices)
    if option.argument:
        what: Any = typer.Argument(**more)
    else:
        what = typer.Option(*(option.flags or (spelling_of(setting.name),)), **more)
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[_typed_as(setting), what]
    )


def _typed_as(setting: Setting) -> Any:
    """What Typer reads: texts where the setting has a reader or choices, else the type itself."""
    kind: Any = setting.element
    if setting.option.read is not None or choices_of(setting):
        kind = str
    elif setting.takes_several:
        fixed = get_origin(setting.type) is tuple and Ellipsis not in get_args(setting.type)
        kind = setting.type if fixed else list[kind]
    return kind | None if setting.optional or setting.default == () else kind


def _shown_default(setting: Setting) -> Any:
    if setting.default == ():
        return None
    if setting.default is None or setting.option.read is None:
        return getattr(setting.default, "value", setting.default)
    return str(setting.default)


def _show(setting: Setting) -> Any:
    """Typer's `show_default`: the option's own words about it, nothing where they are empty."""
    if setting.option.shown is not None:
        return setting.option.shown or False
    return not setting.required and setting.default not in (None, ())


def _metavar(setting: Setting) -> str | None:
    option: Option = setting.option
    if option.metavar is not None:
        return option.metavar
    if choices_of(setting):
        return "|".join(choices_of(setting))
    kind = {int: "INTEGER", float: "FLOAT"}.get(setting.element)
    if kind is None or (option.min is None and option.max is None):
        return None
    low = "" if option.min is None else f"{option.min:g}<="
    high = "" if option.max is None or option.max > 2**32 else f"<={option.max:g}"
    return f"{kind} [{low}x{high}]" if low and high else f"{kind} [x{'>=' + format(option.min, 'g') if low else high}]"
