"""Settings as JSON and checkpoints know them."""

from dataclasses import asdict
from enum import StrEnum
from typing import Any


def as_plain(settings: Any) -> dict[str, Any]:
    """The fields of a settings dataclass as numbers, texts and lists; its class makes the settings of them again."""
    return {name: _plain(value) for name, value in asdict(settings).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value.value
    return list(value) if isinstance(value, tuple) else value
