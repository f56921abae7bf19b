"""Where the arithmetic runs: devices, threads, precision, and what running out of memory looks like."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

from dltool.errors import DeviceError, SettingsError


def available_devices() -> list[str]:
    """Names that `select_device` accepts on this machine, the best first, `cpu` always among them."""
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def select_device(name: str) -> torch.device:
    """Return the torch device for `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; `auto` takes CUDA, then MPS, then CPU.

    Under torchrun `auto` gives every process of a machine a GPU of its own, as far as they go.

    Raises:
        SettingsError: `name` is no device name.
        DeviceError: the device is not on this machine; the message lists those that are.
    """
    available = available_devices()
    if name == "auto":
        own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # torchrun's number of this process on this machine
        return torch.device(own if own in available else available[0])
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not (kind == "cuda" and index.isdigit())):
        raise SettingsError(f"--device {name}: not a device; give auto, cpu, cuda, cuda:N or mps")
    if name not in available and f"{name}:0" not in available:
        raise DeviceError(f"--device {name}: not on this machine; available: {', '.join(available)}")
    return torch.device(name)


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


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic is done by the hardware (CUDA from Ampere on, CPUs with AVX512-BF16 or AMX)."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    capability = torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else ""
    return "AVX512" in capability and torch.ops.mkldnn._is_mkldnn_bf16_supported()


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
    """Whether `error` says that memory ran out: torch's own type, Python's, or the CPU allocator's RuntimeError."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
