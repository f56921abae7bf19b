"""A trained model as one `.safetensors` file: tensors, and a JSON text that says everything else about them."""

import json
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dltool import __version__
from dltool.backbones.preprocessing import Preprocessing
from dltool.backbones.weights import check_tensors
from dltool.device import is_out_of_memory
from dltool.errors import ModelError
from dltool.files import write_atomically

FORMAT_VERSION = 1
# What the best model of a run is called in the run's folder.
MODEL_NAME = "model.safetensors"
_KEY = "dltool"
_MOST_ARGUMENTS = 1000
_LARGEST_ARGUMENT = 100_000


@dataclass(frozen=True)
class ModelFile:
    """All that is in a model file; the tensors are those of the module that `architecture` describes.

    Attributes:
        command: the command that made it: `finetune`, `gan`, `ae`, …; other commands refuse it.
        architecture: name of what builds the module again, with `arguments` that JSON can hold.
        tensors: the module's state dict, on the CPU.
        class_names: in index order; empty where a model knows no classes.
        preprocessing: how an image becomes its input; None for models that make images.
        metrics: figures on held-out data.
        settings: of the run that made it.
        versions: of dltool, torch and Python that wrote it; filled in by `save_model`.
    """

    command: str
    architecture: str
    arguments: dict[str, Any]
    tensors: dict[str, Tensor] = field(repr=False)
    class_names: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def save_model(path: Path, model: ModelFile) -> None:
    """Write the whole file or none.

    Raises:
        DltoolError: the file cannot be written.
        TypeError: arguments, metrics or settings hold something that JSON does not know.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_bytes(model))


def to_bytes(model: ModelFile) -> bytes:
    """Return the file's content: the same model gives the same bytes."""
    from safetensors.torch import save

    versions = {"dltool": __version__, "torch": torch.__version__, "python": platform.python_version()}
    described = {
        name: value for name, value in vars(replace(model, versions=versions)).items() if name not in ("tensors",)
    }
    if model.preprocessing is not None:
        described["preprocessing"] = asdict(model.preprocessing)
    text = json.dumps({"format": FORMAT_VERSION, **described}, sort_keys=True)
    # Copies, because safetensors refuses tensors that share memory (tied weights, views of one buffer).
    tensors = {name: tensor.detach().to("cpu").clone().contiguous() for name, tensor in model.tensors.items()}
    return save(tensors, {_KEY: text})


def model_path(path: Path | str) -> Path:
    """Where the model is that a user names: the file itself, or in a folder of a run its `model.safetensors`.

    Raises:
        ModelError: there is none; the message says what is missing where.
    """
    path = Path(path)
    if path.is_file():
        return path
    if not path.is_dir():
        raise ModelError(f"{path}: no such file or folder; a model file or a run's folder is needed")
    file = path / MODEL_NAME
    if file.is_file():
        return file
    below = sorted(path.glob(f"*/{MODEL_NAME}"))
    if below:
        raise ModelError(f"{file}: missing; did you mean {below[0].parent}?")
    if (path / "config.json").is_file():
        raise ModelError(f"{file}: missing; an unfinished run, its training command's --resume goes on with it")
    raise ModelError(f"{file}: missing; {path} is not the folder of a finished run")


def is_model_file(path: Path) -> bool:
    """Whether a file is a model that dltool wrote, rather than bare weights or nothing at all."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return _KEY in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def load_model(path: Path | str, command: str | None = None) -> ModelFile:
    """Read a model file on the CPU; nothing in it is ever run.

    Args:
        path: a file that `save_model` wrote, or the folder of a run.
        command: the command whose models are wanted; None takes any.

    Raises:
        ModelError: missing, not a dltool model, damaged, of a newer format, or made by another command.
    """
    path = model_path(path)
    described, tensors = _read(path)
    if described["command"] != command and command is not None:
        raise ModelError(f"{path}: a model of 'dltool {described['command']}'; one of 'dltool {command}' is needed")
    kinds = {"arguments": dict, "architecture": str, "metrics": dict, "settings": dict, "versions": dict}
    names = described.get("class_names") or []
    if not isinstance(names, list) or not all(isinstance(described.get(n, kind()), kind) for n, kind in kinds.items()):
        raise ModelError(f"{path}: its description is damaged")
    known = {item.name for item in fields(ModelFile)}
    values = {name: value for name, value in described.items() if name in known}
    values["class_names"] = tuple(names)
    if described.get("preprocessing") is not None:
        values["preprocessing"] = _preprocessing(described["preprocessing"], path)
    return ModelFile(tensors=tensors, **values)


def restored_module(
    build: Callable[[], nn.Module], arguments: Any, tensors: Mapping[str, Tensor], source: Path | str
) -> nn.Module:
    """Build the module that a model file describes, with the file's tensors.

    It is first built without memory (on torch's device `meta`), and in earnest only if it is as large as the tensors
    that are there: a damaged description may ask for any size.

    Args:
        build: builds it with `arguments`.

    Raises:
        ModelError: arguments out of every range, or other tensors; the message names `source`.
    """
    _check_arguments(arguments, source)
    shape: nn.Module | None = None
    try:
        # Some networks of other libraries compute with tensors while they are built, and have no sizes among arguments.
        with suppress(RuntimeError, NotImplementedError, ModelError), torch.device("meta"):
            shape = build()
        if shape is not None:
            _check_fit(shape, tensors, source)
        module = build()
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"{source}: its description is damaged ({' '.join(str(error).split())[:80]})") from error
    restore_module(module, tensors, source)
    return module


def _check_arguments(value: Any, source: Path | str, depth: int = 0) -> None:
    """Refuse sizes and counts that no network has, before anything loops over them."""
    parts = value if isinstance(value, list | tuple) else ()
    if isinstance(value, dict):  # a seed alone may be any number
        parts = [part for name, part in value.items() if name != "seed"]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if depth > 4 or len(parts) > _MOST_ARGUMENTS or (number and not abs(value) <= _LARGEST_ARGUMENT):
        raise ModelError(f"{source}: its description is damaged: arguments out of range")
    for part in parts:
        _check_arguments(part, source, depth + 1)


def restore_module(module: nn.Module, tensors: Mapping[str, Tensor], source: Path | str) -> None:
    """Copy `tensors` into `module`, which must have exactly these names and shapes.

    Raises:
        ModelError: something differs; the message names `source` and the first difference of each kind.
    """
    _check_fit(module, tensors, source)
    module.load_state_dict(dict(tensors))


def _check_fit(module: nn.Module, tensors: Mapping[str, Tensor], source: Path | str) -> None:
    own = module.state_dict()
    missing = [name for name in own if name not in tensors]
    unexpected = [name for name in tensors if name not in own]
    reshaped = [name for name in own if name in tensors and tensors[name].shape != own[name].shape]
    differences = []
    if missing:
        differences.append(f"lacks {_some(missing)}")
    if unexpected:
        differences.append(f"has {_some(unexpected)} too many")
    if reshaped:
        name = reshaped[0]
        differences.append(f"has {name} as {list(tensors[name].shape)} instead of {list(own[name].shape)}")
    if differences:
        raise ModelError(f"{source}: does not fit the network that it describes: it {', '.join(differences)}")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            described = _describe(path, file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
            return described, check_tensors(path, tensors)
    except (SafetensorError, OSError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"{path}: not a readable .safetensors file, which dltool's models are; other kinds, pickles above all, "
            "are not opened"
        ) from error


def _describe(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if _KEY not in metadata:
        raise ModelError(f"{path}: tensors without dltool's description; as bare weights give it to --weights")
    try:
        described = json.loads(metadata[_KEY])
        number = int(described["format"])
        absent = [name for name in ("command", "architecture", "arguments") if name not in described]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ModelError(f"{path}: its description is damaged") from error
    if number > FORMAT_VERSION:
        versions = described.get("versions")
        by = versions.get("dltool", "a newer version") if isinstance(versions, dict) else "a newer version"
        raise ModelError(f"{path}: model format {number}, made by dltool {by}; this one reads up to {FORMAT_VERSION}")
    if absent:
        raise ModelError(f"{path}: its description lacks '{absent[0]}'")
    return described


def _preprocessing(values: Any, path: Path) -> Preprocessing:
    try:
        read = Preprocessing(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
        read.check()
    except (TypeError, AttributeError, ValueError) as error:
        raise ModelError(f"{path}: its preprocessing is damaged ({error})") from error
    return read


def _some(names: list[str], count: int = 2) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
