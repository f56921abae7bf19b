"""Several processes under `torchrun`: who one is, and sums and rows over all. Without torchrun all of it is trivial."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from dltool.errors import DltoolError, SettingsError


def rank() -> int:
    """Number of this process; 0 writes the files and talks."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the group that `torchrun` describes in the environment (NCCL on CUDA, else gloo); leave it at the end.

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
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
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


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether `flag` is set in any process, so that all of them stop at the same step."""
    if not dist.is_initialized():
        return flag
    return bool(sum_over_ranks(torch.tensor(float(flag), device=device)).item())


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
