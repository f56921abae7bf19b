"""Weights from files: read without running code, matched by name and shape, differences named."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dltool.device import is_out_of_memory
from dltool.errors import ModelError

_WRAPPERS = ("state_dict", "model_state_dict", "model", "weights")


@dataclass(frozen=True)
class Match:
    """How a file's tensors fitted a network: names the file lacks (or has in another shape), and names left over."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """Read a .safetensors file or a .pth/.pt state dict on the CPU, never running code from it.

    A state dict inside a checkpoint (`state_dict`, `model`, …) is found, and DataParallel's `module.` is taken off.

    Raises:
        ModelError: missing, damaged, a pickle with code in it, or without tensors; the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"--weights {path}: no such file")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            if is_out_of_memory(error):
                raise
            raise ModelError(f"{path}: not a readable safetensors file ({error})") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path}: holds more than tensors, or is damaged; only plain state dicts are read") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"{path}: not a readable weights file ({' '.join(str(error).split())[:120]})") from error
    return _find_state_dict(path, content)


def _find_state_dict(path: Path, content: object) -> dict[str, Tensor]:
    while isinstance(content, Mapping):
        wrapped = next((key for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if wrapped is None:
            break
        content = content[wrapped]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    if not tensors:
        raise ModelError(f"{path}: no tensors in this file")
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def load_matching(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> Match:
    """Copy every tensor whose name and shape fit into `model`, converting its type, and tell what did not fit.

    Raises:
        ModelError: nothing fits; `source` names the file in the message.
    """
    own = model.state_dict()
    fitting = {k: v for k, v in tensors.items() if k in own and v.shape == own[k].shape}
    if not fitting:
        raise ModelError(
            f"{source}: no tensor fits this network; the file has {_some(tensors)}, the network {_some(own)}"
        )
    model.load_state_dict(fitting, strict=False)
    missing = tuple(k for k in own if k not in fitting and not k.endswith("num_batches_tracked"))
    return Match(missing, tuple(k for k in tensors if k not in fitting))


def _some(names: Mapping[str, object], count: int = 2) -> str:
    return ", ".join(list(names)[:count]) + (", …" if len(names) > count else "")
