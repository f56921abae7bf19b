"""Which of the network's answers is to be explained: a class, or one class rather than another."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dltool.errors import SettingsError, did_you_mean
from dltool.featmap.network import Network

_SHOWN = 4


@dataclass(frozen=True)
class Target:
    """A class by index; with `against`, what speaks for it rather than for that one."""

    index: int
    against: int | None = None


def scores(logits: Tensor, targets: Sequence[Target]) -> Tensor:
    """Return each row's score from N × classes logits: its target's logit, less that of the class it is against."""
    rows = torch.arange(len(logits), device=logits.device)
    wanted = logits[rows, [target.index for target in targets]]
    against = torch.stack(
        [
            row[target.against] if target.against is not None else row.new_zeros(())
            for row, target in zip(logits, targets, strict=True)
        ]
    )
    return wanted - against


def find_class(network: Network, text: str, count: int) -> int:
    """Return the index of the class that `text` names: its number, its name, or a word or part of just one name.

    Args:
        count: how many classes the network answers with.

    Raises:
        SettingsError: no such class, or several; the message lists those that are near.
    """
    if text.isdecimal():
        if int(text) >= count:
            raise SettingsError(f"--class {text}: the network's classes are 0 to {count - 1}")
        return int(text)
    names = [name.lower() for name in network.classes]
    if not names:
        raise SettingsError(f"--class {text}: {network.name}'s class names are not known; give a number")
    wanted = text.strip().lower()
    exact = [index for index, name in enumerate(names) if name == wanted]
    words = [index for index, name in enumerate(names) if f" {wanted} " in f" {name} "]
    matching = exact or words or [index for index, name in enumerate(names) if wanted in name]
    if len(matching) == 1:
        return matching[0]
    if matching:
        near = ", ".join(f"{network.classes[index]} ({index})" for index in matching[:_SHOWN])
        more = ", …" if len(matching) > _SHOWN else ""
        raise SettingsError(f"--class {text}: several classes, {near}{more}; give one's number or whole name")
    raise SettingsError(f"--class {text}: no such class{did_you_mean(text, network.classes)}")


def target_name(network: Network, target: Target) -> str:
    """The target in words, such as `tabby` or `tabby rather than lynx`."""
    name = network.class_name(target.index)
    return name if target.against is None else f"{name} rather than {network.class_name(target.against)}"
