"""Features averaged over each image's nearest neighbours, so that k-means follows the shape of groups."""

import numpy as np
import torch
from scipy import sparse

from dltool.cluster.distances import pieces

_FEWEST, _MOST = 2, 15
_ONE_SIDED = 5.0
# All pairs are compared: n² · D multiplications.
MOST_ROWS = 50_000


def smooth(rows: np.ndarray, steps: int) -> np.ndarray:
    """Walk `steps` steps on the neighbour graph and average the rows that are reached.

    Rows are joined to their nearest by cosine, with it as the weight where it is positive; a step replaces each row by
    the weighted mean of its neighbours. What groups share remains, what is an image's own is averaged out (as label
    spreading does with labels: Zhou et al., "Learning with local and global consistency", 2004). There are half as
    many neighbours as the root of N, 2 to 15: few items have no fifteen of their kind.

    Args:
        rows: N × D float32 of length 1.

    Returns:
        N × D float32 of length 1. Rows without a neighbour stay as they are.
    """
    graph = cosine_graph(rows, round(min(_MOST, max(_FEWEST, len(rows) ** 0.5 / 2))))
    degrees = np.asarray(graph.sum(1)).ravel()
    walk = sparse.diags(1 / np.maximum(degrees, 1e-12)) @ graph + sparse.diags((degrees == 0).astype(np.float32))
    walk = walk.tocsr().astype(np.float32)
    smoothed = rows
    for _ in range(steps):
        smoothed = walk @ smoothed
    lengths = np.linalg.norm(smoothed, axis=1, keepdims=True)
    return (smoothed / np.maximum(lengths, 1e-12)).astype(np.float32)


def cosine_graph(rows: np.ndarray, neighbors: int) -> sparse.csr_matrix:
    """Symmetric N × N weights: cosines of mutual neighbours, a share of those of one-sided ones, else 0.

    The few images of a rare kind have to look elsewhere for neighbours, who do not look back; were such an edge a
    full one, they would be averaged with those. In a small set all edges are needed, so the share falls with root N.
    """
    count = min(neighbors, len(rows) - 1)
    whole = torch.from_numpy(np.ascontiguousarray(rows))
    targets, weights = [], []
    for start, piece in pieces(rows, 1024, torch.device("cpu")):
        cosines = piece @ whole.T
        cosines[torch.arange(len(piece)), torch.arange(start, start + len(piece))] = -torch.inf
        best = cosines.topk(count)
        targets.append(best.indices.numpy())
        weights.append(best.values.clamp_min(0).numpy())
    sources = np.repeat(np.arange(len(rows)), count)
    shape = (len(rows), len(rows))
    directed = sparse.csr_matrix((np.concatenate(weights).ravel(), (sources, np.concatenate(targets).ravel())), shape)
    share = min(1.0, _ONE_SIDED / len(rows) ** 0.5)
    return (directed.minimum(directed.T) * (1 - share) + (directed + directed.T) * (share / 2)).tocsr()
