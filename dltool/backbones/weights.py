"""Weights from files: read without running code, matched by name and shape, differences named."""

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dltool.device import is_out_of_memory
from dltool.errors import ModelError

_WRAPPERS = ("state_dict", "model_state_dict", "model", "weights")
_DEEPEST = 8
_MOST_TENSORS = 100_000


@dataclass(frozen=True)
class Match:
    """How a file's tensors fitted a network: names the file lacks (or has in another shape), and names left over."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """Read a .safetensors file or a .pth/.pt state dict on the CPU, never running code from it.

    A state dict inside a checkpoint (`state_dict`, `model`, …) is found, and DataParallel's `module.` is taken off.

    Raises:
        ModelError: missing, damaged, a pickle with code in it, or without tensors; a file that would take more memory
            than it is long; NaN among its numbers. The message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"--weights {path}: no such file")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return check_tensors(path, load_file(path))
        except (SafetensorError, OSError) as error:
            if is_out_of_memory(error):
                raise
            raise ModelError(f"{path}: not a readable safetensors file ({error})") from error
    _check_stored(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path}: holds more than tensors, or is damaged; only plain state dicts are read") from error
    except Exception as error:  # what a damaged pickle makes torch raise is of nearly every type
        if is_out_of_memory(error):
            raise
        raise ModelError(f"{path}: not a readable weights file ({' '.join(str(error).split())[:120]})") from error
    return _find_state_dict(path, content)


def check_tensors(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors that came from a file, if they are what a network can have.

    Raises:
        ModelError: too many, some that are larger than what the file holds of them, or NaN in one.
    """
    if len(tensors) > _MOST_TENSORS:
        raise ModelError(f"{path}: {len(tensors):,} tensors, more than any network has")
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.is_quantized:
            raise ModelError(f"{path}: {name} is sparse or quantized; only plain tensors are read")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ModelError(f"{path}: {name} is {list(tensor.shape)}, larger than what the file holds of it")
        if tensor.is_floating_point() and bool(tensor.isnan().any()):
            raise ModelError(f"{path}: {name} has numbers that are none (NaN); its training went wrong")
    return tensors


def _check_stored(path: Path) -> None:
    """Refuse an archive that unpacks to more than itself; `torch.save` does not compress."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return  # torch's older format, or what torch will call damaged
    if unpacked > path.stat().st_size:
        raise ModelError(f"{path}: a compressed archive, which torch does not write; unpacked {unpacked / 1e9:.1f} GB")


def _find_state_dict(path: Path, content: object) -> dict[str, Tensor]:
    for _ in range(_DEEPEST):  # a dict may hold itself
        if not isinstance(content, Mapping):
            break
        wrapped = next((key for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if wrapped is None:
            break
        content = content[wrapped]
    else:
        raise ModelError(f"{path}: no state dict within {_DEEPEST} levels of it")
    items = content.items() if isinstance(content, Mapping) else ()
    tensors = {name: value for name, value in items if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise ModelError(f"{path}: no tensors in this file")
    return check_tensors(path, {name.removeprefix("module."): tensor for name, tensor in tensors.items()})


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
