"""How an option is declared, once, in the settings dataclass of its room; how it is checked and read back.

A setting that can be typed is a field annotated with an `Option`:

    steps: Annotated[int, Option("Evaluations of the loss.", min=1, panel="Training")] = 150

The field's name, type and default are the option's; `dltool/cli/command.py` makes a command line of such dataclasses,
and `check_options`, called by their `__post_init__`, holds values against ranges and choices, whoever set them.
Nothing in here knows Typer or torch.
"""

import math
import re
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from enum import Enum, StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from dltool.errors import SettingsError, did_you_mean

COMMON = "Common options"


@dataclass(frozen=True)
class Option:
    """What the command line says of a setting, and which values it may have.

    Attributes:
        help: one line.
        flags: spellings such as `--output`, `-o`; for a switch also `--conditional/--unconditional`. Without any it is
            `--` and the field's name.
        min, max, above, below: bounds, inclusive and exclusive, of numbers and of each number of a tuple.
        panel: heading of the help page that it stands under.
        metavar: what stands for its value in the help page.
        shown: what the help page says of a default that is decided later; an empty text says nothing.
        read: turns what was typed into the value; raises `ValueError` with what would be right.
        argument: it has no flag but its place on the command line.
        eager: handled before all others, by `dltool/cli/command.py`'s handler of that name.
    """

    help: str
    flags: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    above: float | None = None
    below: float | None = None
    panel: str | None = None
    metavar: str | None = None
    shown: str | None = None
    read: Callable[[str], Any] | None = None
    argument: bool = False
    eager: str | None = None


@dataclass(frozen=True)
class Setting:
    """A field with an `Option`: its name, what values it has (without None) and how it is spelled when typed."""

    name: str
    type: Any
    default: Any
    required: bool
    optional: bool
    option: Option

    @property
    def spelling(self) -> str:
        """The long flag, such as `--batch-size`; of an argument its name."""
        if self.option.argument:
            return self.name.upper()
        return spelling_of(self.name, self.option)

    @property
    def element(self) -> Any:
        """The type of one value: of `tuple[int, ...]` and `list[Path]` the int and the Path."""
        arguments = get_args(self.type)
        return arguments[0] if arguments else self.type

    @property
    def takes_several(self) -> bool:
        """Whether the value is a list or a tuple."""
        return get_origin(self.type) in (tuple, list)


@cache
def settings_of(kind: type) -> dict[str, Setting]:
    """The fields of a dataclass that can be typed, by name."""
    hints = get_type_hints(kind, include_extras=True)
    found = {}
    for item in fields(kind):
        hint = hints[item.name]
        option = next((part for part in get_args(hint)[1:] if isinstance(part, Option)), None)
        if get_origin(hint) is not Annotated or option is None:
            continue
        value_type = get_args(hint)[0]
        choices = get_args(value_type) if get_origin(value_type) in (Union, types.UnionType) else (value_type,)
        plain = [choice for choice in choices if choice is not type(None)]
        required = item.default is item.default_factory  # both MISSING
        found[item.name] = Setting(
            *(item.name, plain[0], None if required else item.default, required, len(plain) < len(choices), option)
        )
    return found


def spelling_of(name: str, option: Option | None = None) -> str:
    """How the command line spells a setting: its first long flag, else its first flag, else `--` and the name."""
    flags = option.flags if option is not None else ()
    long = [flag for flag in flags if flag.startswith("--")] or list(flags)
    return long[0].partition("/")[0] if long else "--" + name.replace("_", "-")


def check_options(settings: Any) -> None:
    """Hold every typed field of a settings dataclass against its type's choices and its bounds.

    Texts become the enums and paths that the fields are annotated with, lists become tuples, so that what `as_plain`
    wrote is read back by the class itself.

    Raises:
        SettingsError: a value is out of bounds or no such choice; the message begins with the option's spelling.
    """
    for setting in settings_of(type(settings)).values():
        value = getattr(settings, setting.name)
        if value is None:
            if not setting.optional and not setting.required:
                raise SettingsError(f"{setting.spelling}: a value is needed")
            continue
        if setting.takes_several:
            value = get_origin(setting.type)(_convert(setting, part) for part in value)
            for part in value:
                _check_bounds(setting, part)
        else:
            value = _convert(setting, value)
            _check_bounds(setting, value)
        object.__setattr__(settings, setting.name, value)


def choices_of(setting: Setting) -> tuple[str, ...]:
    """The values of a setting that is an enum; none for others."""
    kind = setting.element
    return tuple(kind) if isinstance(kind, type) and issubclass(kind, StrEnum) else ()


def _convert(setting: Setting, value: Any) -> Any:
    choices = choices_of(setting)
    if choices and value not in choices:
        near = did_you_mean(str(value), choices, 1)
        raise SettingsError(f"{setting.spelling} {value}: one of {', '.join(choices)} is needed{near}")
    if choices or (setting.element is Path and isinstance(value, str)):
        return setting.element(value)
    return value


def _check_bounds(setting: Setting, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    option = setting.option
    inside = (
        math.isfinite(value)
        and (option.min is None or value >= option.min)
        and (option.max is None or value <= option.max)
        and (option.above is None or value > option.above)
        and (option.below is None or value < option.below)
    )
    if not inside:
        raise SettingsError(f"{setting.spelling} {value:g}: {describe_bounds(option)} is needed")


def describe_bounds(option: Option) -> str:
    """`at least 1`, `a number from 0 to 1`, `above 0 and at most 1`; `a finite number` without bounds."""
    if option.min is not None and option.max is not None:
        return f"a number from {option.min:g} to {option.max:g}"
    parts = [
        f"{word} {bound:g}"
        for word, bound in (
            ("at least", option.min),
            ("above", option.above),
            ("at most", option.max),
            ("below", option.below),
        )
        if bound is not None
    ]
    return " and ".join(parts) or "a finite number"


def as_plain(settings: Any) -> dict[str, Any]:
    """The fields of a settings dataclass as numbers, texts and lists; its class makes the settings of them again."""
    return plain(asdict(settings))


def plain(value: Any) -> Any:
    """Values as JSON knows them: paths as typed, dataclasses as objects, numbers that are no numbers as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value


class Typed(Mapping[str, str]):
    """The options that were typed or stand in a configuration file, by setting, with their spelling.

    Args:
        spellings: of every option that was given.
        on_command_line: names of those that were typed rather than read from a file.
    """

    def __init__(self, spellings: Mapping[str, str], on_command_line: frozenset[str] | None = None) -> None:
        self._spellings = dict(spellings)
        self._on_command_line = frozenset(spellings) if on_command_line is None else on_command_line

    def __getitem__(self, name: str) -> str:
        return self._spellings[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._spellings)

    def __len__(self) -> int:
        return len(self._spellings)

    def refuse(self, without_effect: Mapping[str, str]) -> list[str]:
        """Refuse what was typed for nothing; a configuration file may hold options for other runs.

        Args:
            without_effect: settings that change nothing beside the others, and why, such as `"without --frames"`.

        Returns:
            Lines about what stands in a configuration file for nothing, for those who want it said.

        Raises:
            SettingsError: one of them was typed.
        """
        for name, reason in without_effect.items():
            if name in self._on_command_line:
                raise SettingsError(f"{self._spellings[name]}: has no effect {reason}; leave it out")
        return [f"{self[name]}: has no effect {reason}" for name, reason in without_effect.items() if name in self]


# Reading what is typed.


def read_seconds(text: str) -> float:
    """Read a duration above zero: `90`, `30s`, `5m`, `1.5h`.

    Raises:
        ValueError: no such thing.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if not 0 < seconds < math.inf:
        raise ValueError("not a duration; give 30s, 5m or 1h")
    return seconds


def read_bytes(text: str) -> int:
    """Read an amount of memory: `800MB`, `2GB`, `1.5G`, or plain bytes.

    Raises:
        ValueError: no such thing.
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([KMG]?)(?:I?B)?", text.strip().upper())
    amount = float(match[1]) * {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[match[2]] if match else 0.0
    if not 1 <= amount < math.inf:
        raise ValueError("not an amount of memory; give 800MB or 2GB")
    return int(amount)


def read_names(text: str) -> tuple[str, ...]:
    """Read `a,b, c`.

    Raises:
        ValueError: there is no name in it.
    """
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise ValueError("names nothing; give names with commas between")
    return names


def read_numbers(text: str) -> tuple[float, ...]:
    """Read `0.4,0.5,0.6`.

    Raises:
        ValueError: not finite numbers.
    """
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise ValueError("numbers with commas between are needed")
    return numbers


# Settings that several rooms have, with one meaning.


class Precision(StrEnum):
    """Number format of the heavy arithmetic."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


PrecisionOption = Annotated[Precision, Option("auto takes what is faster at equal results.", panel=COMMON)]
Seed = Annotated[int, Option("Same seed, same result.", min=0, max=2**63 - 1, panel=COMMON)]
Backbone = Annotated[str, Option("A torchvision classifier's name, or timm:NAME.", panel="Network")]
Weights = Annotated[
    str,
    Option(
        "The library's own weights, random ones, or a .safetensors, .pth or .pt file.",
        metavar="default|none|FILE",
        panel="Network",
    ),
]
TrainingTime = Annotated[
    float | None,
    Option(
        "Train at most this long; the schedule ends with it.",
        metavar="5m|1h",
        shown="",
        panel="Training",
        read=read_seconds,
    ),
]
