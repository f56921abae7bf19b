import os

import pytest
import torch

from dltool.device import (
    available_devices,
    expect_equal_shapes,
    is_out_of_memory,
    memory_errors,
    select_device,
    use_bf16,
)
from dltool.errors import DeviceError, SettingsError
from dltool.training import distributed

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda:0", "mps"))


def test_cpu_is_always_there_and_auto_takes_the_first():
    assert available_devices()[-1] == "cpu"
    assert str(select_device("auto")) == available_devices()[0]


@pytest.mark.parametrize("name", ["gpu", "cpu:0", "cuda:x", "mps:1", ""])
def test_a_name_that_is_no_device_is_a_wrong_setting(name: str):
    with pytest.raises(SettingsError, match="give auto, cpu, cuda"):
        select_device(name)


def test_a_missing_device_says_what_is_there():
    with pytest.raises(DeviceError, match=r"cuda:99: not on this machine; available: .*cpu"):
        select_device("cuda:99")


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine of two GPUs, and the second of torchrun's processes on it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "4")
    monkeypatch.setitem(os.environ, "LOCAL_RANK", "1")
    return monkeypatch


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_under_torchrun_every_process_takes_its_own_card(two_cards: pytest.MonkeyPatch, name: str):
    assert select_device(name) == torch.device("cuda:1")
    assert select_device("cuda:0") == torch.device("cuda:0")
    assert select_device("cpu") == CPU
    two_cards.setitem(os.environ, "LOCAL_RANK", "2")
    with pytest.raises(DeviceError, match=r"process 3 on this machine, which has 2 GPUs; .*--nproc-per-node 2"):
        select_device(name)


def test_processes_that_train_together_cannot_share_a_card(two_cards: pytest.MonkeyPatch):
    joining = distributed.process_group(select_device("cuda:0"))
    with pytest.raises(SettingsError, match="--device cuda:0: every process of torchrun needs a GPU of its own"):
        joining.__enter__()


def test_a_card_computes_float32_in_float32_and_equal_runs_equally_where_that_is_asked_for(
    two_cards: pytest.MonkeyPatch,
):
    two_cards.delitem(os.environ, "CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    try:
        torch.backends.cudnn.allow_tf32 = True
        select_device("cuda:0")
        assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
        assert not torch.are_deterministic_algorithms_enabled()
        select_device("cuda:0", deterministic=True)
        assert torch.are_deterministic_algorithms_enabled() and os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        expect_equal_shapes(CUDA)
        assert not torch.backends.cudnn.benchmark
        torch.use_deterministic_algorithms(False)
        expect_equal_shapes(CUDA)
        assert torch.backends.cudnn.benchmark
    finally:
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before


@pytest.mark.parametrize(
    ("precision", "device", "capability", "expected"),
    [
        ("auto", CUDA, (8, 0), True),
        ("auto", CUDA, (12, 0), True),
        ("auto", CUDA, (7, 5), False),  # a T4 emulates it
        ("bf16", CUDA, (7, 5), True),
        ("fp32", CUDA, (9, 0), False),
        ("auto", MPS, None, False),
        ("auto", CPU, None, False),
        ("bf16", CPU, None, True),
    ],
)
def test_auto_precision_asks_the_hardware(
    monkeypatch: pytest.MonkeyPatch, precision: str, device: torch.device, capability: tuple, expected: bool
):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)  # as it says on emulating cards
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    assert use_bf16(precision, device) is expected


@pytest.mark.parametrize("has", [True, False])
def test_a_cpu_takes_bf16_for_the_work_that_gains_by_it(monkeypatch: pytest.MonkeyPatch, has: bool):
    monkeypatch.setattr("dltool.device.has_fast_bf16", lambda device: has)
    assert use_bf16("auto", CPU, cpu_gains=True) is has
    assert use_bf16("auto", CPU) is False


def test_running_out_of_memory_becomes_one_line_with_advice():
    with pytest.raises(DeviceError, match="out of memory; try a smaller --size"), memory_errors("try a smaller --size"):
        torch.empty(2**46)
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"), memory_errors(""):
        raise RuntimeError("shapes do not match")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.45 GB, other allocations: 301.08 MB)"),
        RuntimeError("Invalid buffer size: 24.00 GB"),
        RuntimeError("could not create a primitive"),
        RuntimeError("could not create a memory object"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_every_librarys_way_of_saying_so_is_known(error: BaseException):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [OSError(2, "No such file"), ValueError("out of memory"), DeviceError("no device")])
def test_other_errors_are_not_about_memory(error: BaseException):
    assert not is_out_of_memory(error)
