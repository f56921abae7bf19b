"""k-means by mini-batches, for tables larger than memory: rows are read in pieces and never kept."""

from collections.abc import Generator

import torch
from torch import Tensor

from dltool.cluster.clustering import Clustering, GroupingStep, GroupingTask
from dltool.cluster.distances import Rows, as_tensor, cluster_sums, find_nearest, mean_row, sum_type
from dltool.cluster.kmeans import build_clustering, starting_centers
from dltool.cluster.scores import sample_indices, take
from dltool.training.events import Notice
from dltool.training.seeds import numpy_generator

# Rows that lie together are read together; batches are made of such blocks from everywhere.
_BLOCK = 256
_SEED_ROWS = 20_000
_MOST_EPOCHS = 10
# A pass over the rows that betters the mean batch inertia by less than this share is the last.
_ENOUGH = 2e-3


def group_by_minibatch(task: GroupingTask) -> Generator[GroupingStep | Notice, None, Clustering]:
    """Group rows by mini-batch k-means (Sculley, "Web-scale k-means clustering", 2010), then assign all of them.

    A centre is the mean of all rows that batches gave it. All start where k-means on a sample of rows ends; one that
    got no row in a whole pass moves to the row of the last batch that is furthest from its own.
    """
    settings, rows, device = task.settings, task.rows, task.device
    sample = take(rows, sample_indices(len(rows), max(_SEED_ROWS, 20 * task.k), settings.seed))
    if len(sample) < len(rows):
        yield Notice(f"minibatch: starting centres from {len(sample)} of {len(rows)} rows; all rows are then read")
    origin, _ = mean_row(sample, device)
    centers = starting_centers(task, sample).to(device)
    blocks = -(-len(rows) // _BLOCK)
    per_batch = max(1, settings.batch_size // _BLOCK)
    steps = -(-blocks // per_batch)
    epochs = max(1, min(_MOST_EPOCHS, settings.max_iter))
    seen = torch.zeros(task.k, dtype=sum_type(device), device=device)
    previous = float("inf")
    epoch = 0
    for epoch in range(1, epochs + 1):
        total, used = 0.0, torch.zeros(task.k, dtype=torch.int64, device=device)
        order = numpy_generator(settings.seed, "minibatch", epoch).permutation(blocks).tolist()
        for step in range(1, steps + 1):
            chosen = order[(step - 1) * per_batch : step * per_batch]
            batch = torch.cat([_read_block(rows, block) for block in sorted(chosen)]).to(device, torch.float32)
            nearest = find_nearest(batch, centers, origin)
            sums, counts = cluster_sums(batch, nearest.labels, task.k)
            seen += counts
            used += counts
            rate = (counts / seen.clamp_min(1))[:, None]
            means = sums / counts[:, None].clamp_min(1)
            centers = (centers + rate * (means - centers)).float()
            total += float(nearest.squared.sum())
            yield GroupingStep(
                "minibatch", (epoch - 1) * steps + step, epochs * steps, f"inertia {total / step:.4g} a batch"
            )
        _revive(centers, used, seen, batch, nearest.squared)
        if total >= (1 - _ENOUGH) * previous:
            break
        previous = total
    return build_clustering(rows, task.rows, centers, find_nearest(rows, centers, origin, second=True), epoch)


def _read_block(rows: Rows, block: int) -> Tensor:
    return as_tensor(rows[block * _BLOCK : (block + 1) * _BLOCK])


def _revive(centers: Tensor, used: Tensor, seen: Tensor, batch: Tensor, squared: Tensor) -> None:
    """Move centres that got no row to the furthest rows of a batch, in place."""
    idle = torch.nonzero(used == 0)[:, 0].tolist()
    furthest = squared.topk(min(len(idle), len(squared))).indices.tolist() if idle else []
    for number, index in zip(idle, furthest, strict=False):
        centers[number] = batch[index]
        seen[number] = 0
