"""Where the arithmetic runs: devices, threads, precision, and what running out of memory looks like."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from dltool.errors import DeviceError, SettingsError


def available_devices() -> list[str]:
    """Names that `select_device` accepts on this machine, the best first, `cpu` always among them."""
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def select_device(name: str, deterministic: bool = False) -> torch.device:
    """Return the torch device for `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; `auto` takes CUDA, then MPS, then CPU.

    Under torchrun `auto` and `cuda` give every process of a machine a GPU of its own; `cuda:N` is the same for all.

    On a GPU float32 means float32: TF32, which torch allows convolutions, is off, so that what agrees to 1e-5 on a CPU
    does so there; where less is enough there is bfloat16. With `deterministic` equal runs give equal bytes there, too,
    or an operation that cannot is named in an error.

    Raises:
        SettingsError: `name` is no device name.
        DeviceError: the device is not on this machine, or there are fewer GPUs than processes.
    """
    available = available_devices()
    each_its_own = name in ("auto", "cuda") and int(os.environ.get("WORLD_SIZE", "1")) > 1
    if name == "auto":
        name = available[0]
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdigit())):
        raise SettingsError(f"--device {name}: not a device; give auto, cpu, cuda, cuda:N or mps")
    if name not in available and f"{name}:0" not in available:
        raise DeviceError(f"--device {name}: not on this machine; available: {', '.join(available)}")
    if kind == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        if deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first matrices are multiplied
            torch.use_deterministic_algorithms(True)
    return _own_card() if kind == "cuda" and each_its_own else torch.device(name)


def expect_equal_shapes(device: torch.device) -> None:
    """Have cuDNN try its algorithms once for each shape, where few shapes come again and again."""
    if device.type == "cuda" and not torch.are_deterministic_algorithms_enabled():
        torch.backends.cudnn.benchmark = True


def _own_card() -> torch.device:
    """The GPU of this process, one of several that torchrun started on this machine."""
    number, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= count:
        raise DeviceError(
            f"--device cuda: process {number + 1} on this machine, which has {count} GPU{'s' * (count > 1)}; "
            f"start torchrun with --nproc-per-node {count}"
        )
    return torch.device("cuda", number)


def send_together(parts: Sequence[np.ndarray], device: torch.device) -> tuple[Tensor, ...]:
    """Arrays of equal widths as tensors on the device, all of them in one copy, for which alone a GPU is waited for."""
    whole = torch.from_numpy(np.concatenate(parts)).to(device)
    return whole.split([len(part) for part in parts])


def pinned(pixels: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor, where it is for a GPU in memory that the card can read while the CPU goes on."""
    tensor = torch.from_numpy(pixels)
    return tensor.pin_memory() if device.type == "cuda" else tensor


def fetch_behind(tensor: Tensor) -> Callable[[], Tensor]:
    """Have a tensor copied to the CPU when the device has computed it; what is returned waits for that and gives it."""
    if tensor.device.type != "cuda":
        return lambda: tensor.cpu()
    copied = tensor.to("cpu", non_blocking=True)
    try:
        end = torch.cuda.Event()
        end.record()
    except RuntimeError:  # what only pretends to be a card has no events
        torch.cuda.synchronize(tensor.device)
        return lambda: copied

    def fetch() -> Tensor:
        end.synchronize()
        return copied

    return fetch


def cpu_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_device(device: torch.device) -> str:
    """Return the device's name with its hardware's, such as `cuda:0 (NVIDIA H200)`; the CPU is just `cpu`."""
    if device.type == "cuda":
        return f"cuda:{device.index or 0} ({torch.cuda.get_device_name(device)})"
    return device.type


def set_threads(count: int | None) -> None:
    """Limit the CPU threads of torch and of the BLAS libraries beneath it; None leaves them as they are."""
    if count is None:
        return
    if count < 1:
        raise SettingsError(f"--threads {count}: at least 1 is needed")
    torch.set_num_threads(count)
    threadpool_limits(count)


def use_bf16(precision: str, device: torch.device, cpu_gains: bool = False) -> bool:
    """Whether work is done in bfloat16: what `--precision` means, in every command.

    `fp32` and `bf16` are obeyed. `auto` takes bfloat16 where the hardware computes it and benchmarks show that this is
    faster at equal results: on CUDA cards that have it, and on CPUs for the work that `cpu_gains` is set for.

    Args:
        precision: `auto`, `fp32` or `bf16`.
        cpu_gains: whether a benchmark shows that this work gains by it on a CPU with AVX512-BF16 or AMX.
    """
    if precision != "auto":
        return precision == "bf16"
    return (device.type != "cpu" or cpu_gains) and has_fast_bf16(device)


def autocast(device: torch.device, bf16: bool) -> AbstractContextManager[object]:
    """A context in which networks compute in bfloat16, or in float32 as everywhere else."""
    return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic is done by the hardware (CUDA from Ampere on, CPUs with AVX512-BF16 or AMX).

    `torch.cuda.is_bf16_supported` is no answer: it holds for older cards too, which only emulate it.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capability = torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else ""
    return "AVX512" in capability and torch.ops.mkldnn._is_mkldnn_bf16_supported()


# What libraries say when memory runs out; torch's own type stands for the allocator of CUDA alone.
_OUT_OF_MEMORY = (
    "out of memory",  # CUDA, and MPS: "MPS backend out of memory"
    "Invalid buffer size",  # MPS, for one tensor larger than it can have
    "_STATUS_ALLOC_FAILED",  # cuBLAS, cuDNN, cuSOLVER
    "Unable to find a valid cuDNN algorithm",  # none fits into what is left
    "can't allocate memory",  # the CPU's allocator
    "DefaultCPUAllocator",  # and on Windows: "not enough memory"
    "could not create a primitive",  # oneDNN
    "could not create a memory",
    "Cannot allocate memory",  # the system, asked to map a file
    "bad_alloc",
)


@contextmanager
def memory_errors(advice: str) -> Iterator[None]:
    """Turn running out of memory, on the CPU or on a GPU, into a DeviceError that ends with `advice`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceError(f"out of memory; {advice}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out: torch's own type, Python's, the system's, or a library's."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)
