"""Starting from another run's networks: `gan train --from`, for finer images, another set or other classes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dltool.data.sizes import Size
from dltool.errors import SettingsError
from dltool.gan.generator_file import load_generator
from dltool.gan.modern import stage_shapes
from dltool.gan.settings import Arch, GanSettings, NetworkSpec
from dltool.training.run_folder import RunFolder

# Layers in a row, whose places count from the coarse end in a generator and from the fine end in a discriminator.
_LAYER = re.compile(r"(body\.(?:layers\.)?)(\d+)(\..*)")


@dataclass(frozen=True)
class Start:
    """Both networks of a run; of a model file there is no discriminator."""

    path: Path
    spec: NetworkSpec
    class_names: tuple[str, ...]
    generator: Mapping[str, Tensor] = field(repr=False)
    discriminator: Mapping[str, Tensor] | None = field(repr=False)


def read_start(path: Path) -> Start:
    """Read the folder of a run, its best generator and its last discriminator, or a model file.

    Raises:
        ModelError: missing, damaged, or no generator.
    """
    trained = load_generator(path)
    state = RunFolder(path).load_checkpoint() if path.is_dir() else None
    discriminator = None if state is None else state["step"]["discriminator"]
    return Start(path, trained.spec, trained.class_names, trained.module.state_dict(), discriminator)


def continued_settings(settings: GanSettings, start: Start, size: Size) -> GanSettings:
    """Fill in what the networks must share: length of the noise, and modern's channels at each coarser resolution.

    Raises:
        SettingsError: another architecture.
    """
    spec = start.spec
    if settings.arch is not spec.arch:
        raise SettingsError(f"--from {start.path}: a model of --arch {spec.arch}; give that")
    values = {}
    if settings.latent_dim is None:
        values["latent_dim"] = spec.latent_dim
    if settings.width is None and spec.arch is Arch.MODERN:
        halvings = [len(stage_shapes(replace(spec, size=own))) for own in (spec.size, size)]
        values["width"] = max(1, round(spec.width * 2.0 ** (halvings[0] - halvings[1])))
    return replace(settings, **values)


@torch.no_grad()
def take_over(module: nn.Module, tensors: Mapping[str, Tensor], names: Sequence[str], others: Sequence[str]) -> float:
    """Give a network another one's tensors wherever they fit, and return their share of its numbers.

    A row of layers is aligned at whichever end more of it fits. Where only the number of classes differs, what
    belongs to the noise and to classes of the same name is taken.

    Args:
        names, others: classes of this network and of the other.
    """
    own = module.state_dict()
    shifts = {0, _last_layer(own) - _last_layer(tensors)}
    moved = max((_shifted(tensors, shift) for shift in shifts), key=lambda one: _count_fitting(own, one))
    taken = 0
    for name, tensor in own.items():
        if name not in moved:
            continue
        other = moved[name].to(tensor.device)
        if other.shape == tensor.shape:
            tensor.copy_(other)
            taken += tensor.numel()
            continue
        axis = next((axis for axis in (0, 1) if _differ_by_classes(tensor, other, axis, names, others)), None)
        if axis is None:
            continue
        noise = tensor.shape[axis] - len(names)
        pairs = [(index, index) for index in range(noise)]
        pairs += [(noise + names.index(kind), noise + at) for at, kind in enumerate(others) if kind in names]
        for place, at in pairs:
            tensor.select(axis, place).copy_(other.select(axis, at))
        taken += len(pairs) * tensor.numel() // tensor.shape[axis]
    return taken / sum(tensor.numel() for tensor in own.values())


def _differ_by_classes(one: Tensor, other: Tensor, axis: int, names: Sequence[str], others: Sequence[str]) -> bool:
    if one.ndim != other.ndim or axis >= one.ndim or one.shape[axis] - len(names) != other.shape[axis] - len(others):
        return False
    return [side for at, side in enumerate(one.shape) if at != axis] == [
        side for at, side in enumerate(other.shape) if at != axis
    ]


def _last_layer(tensors: Mapping[str, Tensor]) -> int:
    return max(int(found[2]) for found in map(_LAYER.match, tensors) if found)


def _shifted(tensors: Mapping[str, Tensor], by: int) -> dict[str, Tensor]:
    def rename(name: str) -> str:
        return _LAYER.sub(lambda found: f"{found[1]}{int(found[2]) + by}{found[3]}", name)

    return {rename(name): tensor for name, tensor in tensors.items()}


def _count_fitting(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> int:
    return sum(
        tensor.numel() for name, tensor in own.items() if name in tensors and tensors[name].shape == tensor.shape
    )
