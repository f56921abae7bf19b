"""Which samples `--limit` takes: the same ones in every command, whatever the seed."""

from dataclasses import replace

import numpy as np

from dltool.data.splits import Dataset, Split

_GOLDEN_RATIO = (1 + 5**0.5) / 2


def choose_evenly(labels: np.ndarray, limit: int, parts: np.ndarray | None = None) -> np.ndarray:
    """Indices, ascending, of `limit` samples, evenly over the classes; of all where there are no more.

    A class that runs out leaves its share to the others. Within a class the samples of the lowest `even_ranks` are
    taken, so that what is taken for one limit is among what is taken for a larger one.

    Args:
        labels: N, the class of each sample; all equal where none are known.
        limit: 0 takes all.
        parts: N, the number of the split that each sample lies in, where several are taken as one: samples of a later
            part are taken only where an earlier one has run out of their class.
    """
    if not limit or limit >= len(labels):
        return np.arange(len(labels))
    return _lowest(even_ranks(labels, parts), labels, limit)


def _lowest(ranks: np.ndarray, labels: np.ndarray, limit: int) -> np.ndarray:
    return np.sort(np.lexsort((labels, ranks))[:limit])


def even_ranks(labels: np.ndarray, parts: np.ndarray | None = None) -> np.ndarray:
    """N numbers from 0 in each class, such that the samples below any number are spread over the class in its order.

    Sample i is placed at the fraction of i times the golden ratio, and the places are ranked. They fill the unit
    interval evenly (H. Weyl, 1916): no stretch of the order is left out, and no period in it is hit. `parts` follow
    each other, as `choose_evenly` has it.
    """
    parts = np.zeros(len(labels), int) if parts is None else parts
    places = _number_within([labels, parts], np.lexsort((parts, labels))) * _GOLDEN_RATIO % 1
    return _number_within([labels], np.lexsort((places, parts, labels)))


def _number_within(groups: list[np.ndarray], order: np.ndarray) -> np.ndarray:
    """Of each sample its number among those of its groups, counted in `order`, which keeps groups together."""
    begins = np.ones(len(order), bool)
    begins[1:] = np.any([group[order][1:] != group[order][:-1] for group in groups], axis=0)
    along = np.arange(len(order))
    numbers = np.empty(len(order), int)
    numbers[order] = along - np.maximum.accumulate(np.where(begins, along, 0))
    return numbers


def limit_samples(dataset: Dataset, limit: int) -> Dataset:
    """Keep `limit` samples of each split, as `choose_evenly` takes them; 0 keeps all."""
    if not limit:
        return dataset
    splits = {name: split.take(choose_evenly(split.labels, limit)) for name, split in dataset.splits.items()}
    return replace(dataset, splits=splits)


def hold_back(split: Split, shares: dict[str, float], limit: int) -> dict[str, Split]:
    """Take `limit` samples of a split for training, and of those left for each of `shares` (by name) as many at most.

    Training has the very samples that the same limit takes of the whole split, where their class has enough: what is
    held back, the share of every class and at least one sample, is of the highest `even_ranks`.
    """
    counts = np.bincount(split.labels)[split.labels]
    ranks = even_ranks(split.labels)
    from_end = counts - 1 - ranks
    homes = np.full(len(split), "train", object)
    begin = np.zeros(len(split), int)
    for name, share in shares.items():
        end = np.minimum(begin + np.maximum(1, np.rint(share * counts).astype(int)), counts - 1)
        homes[(from_end >= begin) & (from_end < end)] = name
        begin = end
    divided = {}
    for name in [name for name in ("train", *shares) if name in homes]:
        members = np.flatnonzero(homes == name)
        of_members = ranks[members] if name == "train" else from_end[members]
        divided[name] = split.take(members[_lowest(of_members, split.labels[members], limit)])
    return divided
