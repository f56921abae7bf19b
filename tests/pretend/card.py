"""A pretend CUDA device: within `pretend_card`, torch and dltool believe in a card, whose values the CPU computes.

It raises what CUDA raises for tensors of two devices, for a generator of the other device and for `numpy()` of a tensor
on the card, and counts what a card would be handed and waited for. Work on it is done in the thread that entered it.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils import _foreach_utils

from tests.pretend.counts import Counts
from tests.pretend.tensor import CPU, CUDA, OnCard, Pretended

_GIB = 2**30
optimizer = sys.modules["torch.optim.optimizer"]  # torch.optim has deleted the name


@contextmanager
def pretend_card(capability: tuple[int, int] = (9, 0), gib: float = 80.0) -> Iterator[Counts]:
    """Pretend that the machine has one card of this compute capability and memory; nothing of it stays behind."""
    card = Counts()
    with ExitStack() as stack:
        for target, name, value in _replacements(card, capability, round(gib * _GIB)):
            stack.enter_context(patch.object(target, name, value))
        types = _foreach_utils._foreach_supported_types, optimizer._foreach_supported_types
        for each in types:
            each.append(Pretended)
            stack.callback(each.remove, Pretended)
        before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, before)
        overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)  # Module.to: parameters of another class
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrites)
        torch._C._ensureCUDADeviceGuardSet()
        stack.enter_context(OnCard(card))
        yield card


def _replacements(card: Counts, capability: tuple[int, int], size: int) -> Iterator[tuple[Any, str, Any]]:
    """What is put in the place of what: object, name, value."""
    answers: dict[str, Any] = {
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "is_initialized": True,
        "is_bf16_supported": True,
        "is_current_stream_capturing": False,
        "get_device_name": "Pretend GPU",
        "get_device_capability": capability,
        "mem_get_info": (size, size),
        "_is_in_bad_fork": False,
    }
    answers |= dict.fromkeys(("memory_reserved", "memory_allocated", "max_memory_allocated"), 0)
    silent = ("_lazy_init", "empty_cache", "set_device", "manual_seed", "manual_seed_all", "reset_peak_memory_stats")
    answers |= dict.fromkeys(silent)
    for name, answer in answers.items():
        yield torch.cuda, name, lambda *_, answer=answer, **__: answer
    yield torch.cuda, "synchronize", lambda *_: card.wait("synchronize")
    yield torch.cuda, "Event", lambda *_, **__: _Event(card)
    yield torch, "Generator", _generators(card)
    yield torch, "autocast", _autocast(card)
    # Tensors of inference mode cannot be wrapped; as a decorator it was applied long ago, so that its methods change.
    yield torch.inference_mode, "__enter__", _enter_without_grad
    yield torch.inference_mode, "__exit__", lambda self, *_: torch._C._set_grad_enabled(self.grad_was_enabled)
    yield torch.Tensor, "pin_memory", _pin
    yield torch.nn.functional, "one_hot", _one_hot
    grouping = _foreach_utils._group_tensors_by_device_and_dtype
    for module in (torch.nn.utils.clip_grad, optimizer):
        yield module, "_group_tensors_by_device_and_dtype", _grouping(grouping)


class _Event:
    def __init__(self, card: Counts) -> None:
        self._card = card

    def record(self, *_: Any) -> None:
        """Nothing is left to be done when it is recorded."""

    def synchronize(self) -> None:
        """Wait for what was handed over before it was recorded."""
        self._card.wait("event")


def _generators(card: Counts) -> type:
    real = torch.Generator

    class Generator(real):  # type: ignore[misc, valid-type]
        def __new__(cls, device: Any = "cpu") -> torch.Generator:
            made = real.__new__(cls, "cpu")
            if torch.device(device).type == "cuda":
                card.own(made)
            return made

        def __init__(self, device: Any = "cpu") -> None:
            """All of it is done."""

    return Generator


def _autocast(card: Counts) -> Any:
    real = torch.autocast

    def autocast(device_type: str, dtype: torch.dtype | None = None, enabled: bool = True, **more: Any) -> Any:
        if enabled and device_type == "cuda":
            card.autocast[dtype] += 1
        return real("cpu", dtype, enabled, **more)

    return autocast


def _enter_without_grad(self: Any) -> None:
    self.grad_was_enabled = torch.is_grad_enabled()
    torch._C._set_grad_enabled(False)


def _pin(self: Tensor, *_: Any) -> Tensor:
    pinned = self.clone()
    pinned.pretends_to_be_pinned = True  # type: ignore[attr-defined]
    return pinned


def _one_hot(numbers: Tensor, classes: int = -1) -> Tensor:
    """Without torch's look at the largest number, which it leaves out on a card."""
    return (numbers.unsqueeze(-1) == torch.arange(classes, device=numbers.device)).to(torch.int64)


def _grouping(real: Any) -> Any:
    def group(tensors: Any, with_indices: bool = False) -> Any:
        groups = real(tensors, with_indices)
        ours = any(isinstance(each, Pretended) for row in tensors for each in row)
        return {(CUDA if ours else device, dtype): value for (device, dtype), value in groups.items()}

    return group


__all__ = ["CPU", "CUDA", "Counts", "Pretended", "pretend_card"]
