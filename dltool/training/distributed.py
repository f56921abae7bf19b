"""Several processes under `torchrun`: who one is, and sums and rows over all. Without torchrun all of it is trivial.

Every process must call these functions in the same order. Gradients are summed here rather than by torch's
DistributedDataParallel, which does so within `backward`, where a process that runs out of memory leaves the others
waiting.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dltool.errors import DltoolError, SettingsError


def rank() -> int:
    """Number of this process; 0 writes the files and talks."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the group that `torchrun` describes in the environment (NCCL for CUDA, else gloo); leave it at the end.

    Raises:
        SettingsError: `device` is one GPU for several processes of this machine.
        DltoolError: the processes cannot reach each other.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        yield
        return
    if device.type == "cuda" and device.index != int(os.environ.get("LOCAL_RANK", "0")):
        raise SettingsError(f"--device {device}: every process of torchrun needs a GPU of its own; give --device cuda")
    try:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        # Flags are exchanged between CPUs, so that no process waits for its GPU to learn of them.
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        raise DltoolError(f"the processes of torchrun cannot reach each other ({error})") from error
    try:
        yield
    finally:
        dist.destroy_process_group()


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum of `values` of all processes, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def max_over_ranks(values: Tensor) -> Tensor:
    """The largest of `values` of all processes, element by element, in place."""
    if dist.is_initialized():
        dist.all_reduce(values, dist.ReduceOp.MAX)
    return values


def sum_gradients(parameters: Iterable[nn.Parameter], *more: Tensor) -> None:
    """Sum the gradients of all processes, and other float tensors on the same device, in place and in one message."""
    if dist.is_initialized():
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        _together([*gradients, *more], dist.all_reduce)


def share_tensors(tensors: Iterable[Tensor]) -> None:
    """Give every process the first one's tensors, such as the statistics of batch norms, in place."""
    if dist.is_initialized():
        _together(tensors, lambda values: dist.broadcast(values, 0))


@torch.no_grad()
def _together(tensors: Iterable[Tensor], collective: Callable[[Tensor], object]) -> None:
    """Do a collective operation on many tensors as if they were one for each type."""
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor.detach())
    for group in groups.values():
        flat = torch.cat([tensor.flatten() for tensor in group])
        collective(flat)
        for tensor, values in zip(group, flat.split([tensor.numel() for tensor in group]), strict=True):
            tensor.copy_(values.view(tensor.shape))


def any_rank(flag: bool) -> bool:
    """Whether `flag` is set in any process, so that all of them do the same."""
    if not dist.is_initialized():
        return flag
    return bool(sum_over_ranks(torch.tensor(float(flag))).item())


def first_ranks(number: float) -> float:
    """The first process's `number`, in every process."""
    if not dist.is_initialized():
        return number
    shared = torch.tensor(number, dtype=torch.float64)
    dist.broadcast(shared, 0)
    return shared.item()


def gather_rows(rows: Tensor, total: int) -> Tensor:
    """Put together what process r computed for samples r, r + world, r + 2·world, …: `total` × … on every process."""
    if not dist.is_initialized():
        return rows
    world = dist.get_world_size()
    longest = -(-total // world)
    padded = rows.new_zeros((longest, *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(parts, padded.contiguous())
    return torch.stack(parts, dim=1).flatten(0, 1)[:total]


def barrier() -> None:
    """Wait for all processes."""
    if dist.is_initialized():
        dist.barrier()
