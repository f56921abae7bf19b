"""Starting centres: greedy k-means++ and random rows."""

import math

import torch
from torch import Tensor

from dltool.cluster.distances import Rows, as_tensor, chunk_rows, pieces, sum_type
from dltool.training.seeds import numpy_generator


def random_centers(rows: Rows, k: int, device: torch.device, *seed: int | str) -> Tensor:
    """k different rows, drawn at random: k × D float32."""
    chosen = numpy_generator(*seed).choice(len(rows), k, replace=False)
    return take_rows(rows, chosen.tolist(), device)


def spread_centers(rows: Rows, k: int, origin: Tensor, device: torch.device, *seed: int | str) -> Tensor:
    """Greedy k-means++ (Arthur and Vassilvitskii, "k-means++", 2007, section 5).

    Each next centre is drawn with a chance in proportion to D², the squared distance to the nearest centre so far, the
    best of 2 + ln k draws being kept.

    Where fewer than k different rows exist, centres repeat.

    Returns:
        k × D float32 on the device.
    """
    random = numpy_generator(*seed)
    trials = 2 + int(math.log(k))
    chosen = [int(random.integers(len(rows)))]
    closest = torch.full((len(rows),), torch.inf, device=device)
    _lower(closest, rows, chosen[-1], origin)
    while len(chosen) < k:
        cumulative = closest.cpu().double().cumsum(0)
        draws = torch.from_numpy(random.random(trials)) * cumulative[-1]
        candidates = torch.searchsorted(cumulative, draws, right=True).clamp_max(len(rows) - 1).tolist()
        best = _best_candidate(closest, rows, candidates, origin)
        _lower(closest, rows, best, origin)
        chosen.append(best)
    return take_rows(rows, chosen, device)


def take_rows(rows: Rows, indices: list[int], device: torch.device) -> Tensor:
    """The rows at `indices` as a float32 tensor of their own on the device."""
    return torch.cat([as_tensor(rows[i : i + 1]).to(device, torch.float32, copy=True) for i in indices])


def _best_candidate(closest: Tensor, rows: Rows, candidates: list[int], origin: Tensor) -> int:
    """The candidate that would leave the least sum of D²."""
    device = closest.device
    moved = take_rows(rows, candidates, device) - origin
    norms = moved.square().sum(1)
    potential = torch.zeros(len(candidates), dtype=sum_type(device), device=device)
    for start, piece in pieces(rows, chunk_rows(device, len(candidates)), device):
        relative = piece - origin
        squared = torch.addmm(norms, relative, moved.T, alpha=-2) + relative.square().sum(1, keepdim=True)
        potential += torch.minimum(squared.clamp_min_(0), closest[start : start + len(piece), None]).sum(0)
    return candidates[int(potential.argmin())]


def _lower(closest: Tensor, rows: Rows, index: int, origin: Tensor) -> None:
    """Take a new centre, row `index`, into the squared distances to the nearest one, in place."""
    center = take_rows(rows, [index], closest.device)[0]
    for start, piece in pieces(rows, chunk_rows(closest.device, 1), closest.device):
        part = closest[start : start + len(piece)]
        torch.minimum(part, (piece - center).square().sum(1), out=part)
