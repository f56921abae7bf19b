"""Errors that a user can act on: one plain line each, with the exit code that scripts rely on."""

from collections.abc import Iterable
from difflib import get_close_matches


class DltoolError(Exception):
    """Work failed (exit code 1). The message is one line: what is wrong, with which file or option, what to do."""

    exit_code = 1


class SettingsError(DltoolError):
    """An option, a configuration file or an output path cannot be used (exit code 2)."""

    exit_code = 2


class DataError(DltoolError):
    """The data cannot be used: nothing readable, a broken image, one class only (exit code 3)."""

    exit_code = 3


class ModelError(DltoolError):
    """A model, its weights or one of its layers cannot be used (exit code 4)."""

    exit_code = 4


class DeviceError(DltoolError):
    """A device is missing or has too little memory (exit code 5)."""

    exit_code = 5


def did_you_mean(name: str, choices: Iterable[str], count: int = 3) -> str:
    """Return `"; did you mean 'resnet50'?"` for the names nearest to `name`, or an empty string.

    Where no name is near, those that hold the word count, so that `dw` finds `blocks.0.0.conv_dw`.
    """
    choices = list(dict.fromkeys(choices))
    lower = {choice.lower(): choice for choice in reversed(choices)}
    near = [lower[match] for match in get_close_matches(name.lower(), lower, n=count, cutoff=0.6)]
    if not near and name:
        near = [choice for choice in choices if name.lower() in choice.lower()][:count]
    if not near:
        return ""
    return "; did you mean " + " or ".join(f"'{choice}'" for choice in near) + "?"
