"""Layers by name: the modules' own names, and the names that the literature gives the layers of VGG."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn

from dltool.errors import SettingsError, did_you_mean


def resolve_layers(model: nn.Module, names: Iterable[str], option: str) -> dict[str, str]:
    """Map each of `names` to the name of one of `model`'s modules.

    A VGG's layers also answer to `conv4_2`, `relu4_1`, `pool3` (block and place in it) and to `conv_4`, `relu_4`
    (plain counting).

    Raises:
        SettingsError: no such layer; the message names `option` and suggests near names.
    """
    modules = [name for name, _ in model.named_modules() if name]
    aliases = vgg_aliases(model)
    known = set(modules)
    resolved = {}
    for name in names:
        if name not in known and name not in aliases:
            hint = did_you_mean(name, [*aliases, *modules]) or f"; the network has {_sample(list(aliases) or modules)}"
            raise SettingsError(f"{option} {name}: no such layer{hint}")
        resolved[name] = name if name in known else aliases[name]
    return resolved


def match_layers(model: nn.Module, patterns: Iterable[str], option: str, known: Iterable[str]) -> dict[str, str]:
    """Like `resolve_layers`, but a name may be a pattern (`layer3.*`, `*.conv1`), which stands for all that match.

    A star does not stop at dots. Only the layers in `known` (those that run, say) are matched by patterns.

    Raises:
        SettingsError: no such layer, or nothing matches; the message names `option` and suggests near names.
    """
    known, aliases = list(known), vgg_aliases(model)
    resolved: dict[str, str] = {}
    for pattern in patterns:
        if not set(pattern) & set("*?["):
            resolved |= resolve_layers(model, [pattern], option)
            continue
        matching = {name: name for name in known if fnmatchcase(name, pattern)}
        matching |= {alias: name for alias, name in aliases.items() if fnmatchcase(alias, pattern)}
        if not matching:
            raise SettingsError(f"{option} {pattern}: matches no layer; the network has {_sample(known)}")
        resolved |= matching
    return resolved


def vgg_aliases(model: nn.Module) -> dict[str, str]:
    """Map the literature's layer names to torchvision's (`conv1_1` → `features.0`); empty for anything but a VGG."""
    features = getattr(model, "features", None)
    if type(model).__name__ != "VGG" or not isinstance(features, nn.Sequential):
        return {}
    aliases: dict[str, str] = {}
    block, place, count = 1, 0, 0
    for index, layer in enumerate(features):
        name = f"features.{index}"
        if isinstance(layer, nn.Conv2d):
            place, count = place + 1, count + 1
            aliases |= {f"conv{block}_{place}": name, f"conv_{count}": name}
        elif isinstance(layer, nn.ReLU):
            aliases |= {f"relu{block}_{place}": name, f"relu_{count}": name}
        elif isinstance(layer, nn.MaxPool2d | nn.AvgPool2d):
            aliases[f"pool{block}"] = name
            block, place = block + 1, 0
    return aliases


def _sample(names: list[str], count: int = 6) -> str:
    step = max(1, len(names) // count)
    return ", ".join(names[::step][:count])
