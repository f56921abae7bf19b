"""How many clusters: a range of k, judged by the silhouette of k-means or by the modularity of graph cuts."""

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np

from dltool.cluster.clustering import GroupingStep, GroupingTask
from dltool.cluster.kmeans import group_by_kmeans
from dltool.cluster.manifold import open_cuts
from dltool.cluster.scores import count_different, sample_indices, silhouette, take
from dltool.cluster.settings import ClusterMethod
from dltool.events import finish, mapped
from dltool.training.seeds import numpy_generator

# Below this, groups overlap so much that their number is a matter of taste (Kaufman and Rousseeuw, 1990: 0.25).
_WEAK = 0.25
_NEARLY = 0.02
_FIRST_K_MAX, _MORE_K, _MOST_K = 12, 6, 60
_BEYOND = 1.5
# Share of edges between groups that are taken to be apart, and a rise of modularity that is none: starts differ by it.
_CLEAN, _LEVEL = 1e-3, 6e-3
# Silhouettes of evenly spread points stay below; these are drawn for tables of few columns, for which they are alike.
_CLEAR, _MARGIN, _EVEN_ROWS, _FEWEST_EVEN_ROWS, _MOST_EVEN_COLUMNS = 0.5, 0.03, 1000, 50, 16


@dataclass(frozen=True)
class Tried:
    """One k: silhouette (None where it has no meaning) and inertia; for graph cuts modularity and the share of edges
    that cross between groups."""

    k: int
    silhouette: float | None
    inertia: float
    modularity: float | None = None
    crossing: float | None = None


@dataclass(frozen=True)
class Choice:
    """The k that was chosen, why, and what was tried; silhouettes are of `sampled` rows."""

    k: int
    reason: str
    tried: tuple[Tried, ...] = ()
    sampled: int = 0


def choose_k(task: GroupingTask) -> Generator[GroupingStep, None, Choice]:
    """Try every k from `k_min` to `k_max` and choose by the method's own measure; the task's own `k` is ignored.

    That is modularity for `manifold` and the silhouette of k-means for all else. Without a `k_max` it is 12, and raised
    as long as the best k is at its end; the silhouette has lower peaks on the way, so half as many more are tried.
    """
    settings = task.settings
    most = settings.k_max or max(_MOST_K, settings.k_min)
    different = count_different(task.rows, most + 1)
    if different <= 2:
        reason = "all items are equal" if different == 1 else "there are only two different items"
        return Choice(different, reason)
    most = min(most, different - 1)
    lowest = min(settings.k_min, most)
    highest = min(most, settings.k_max or max(_FIRST_K_MAX, lowest))
    cuts = None
    if settings.method is ClusterMethod.MANIFOLD:
        cuts = yield from open_cuts(task.rows, task.device)
    tried: list[Tried] = []
    while True:
        for k in range(lowest + len(tried), highest + 1):
            step = GroupingStep("choosing k", k - lowest, highest + 1 - lowest, f"k {k}")
            if cuts is None:
                found = yield from mapped(group_by_kmeans(replace(task, k=k)), lambda _, step=step: step)
                score, sampled = silhouette(found.embedding, found.labels, settings.seed)
                tried.append(Tried(k, score, found.inertia))
            else:
                yield step
                labels, value, crossing = cuts.cut(k, highest, settings.seed)
                score, sampled = silhouette(cuts.rows, labels, settings.seed)
                tried.append(Tried(k, score, cuts.inertia(labels, k), value, crossing))
        by = decide if cuts is None else decide_by_modularity
        choice = by(tried, sampled, len(task.rows))
        enough = choice.k < highest if cuts is not None else _BEYOND * choice.k <= highest
        if enough or highest == most:
            return _compare_with_even(choice, task)
        highest = min(most, highest + _MORE_K)


def decide_by_modularity(tried: list[Tried], sampled: int, count: int) -> Choice:
    """Choose the largest k whose groups no edges join; else the least whose modularity is close to the largest.

    Modularity rises on slowly where round groups are cut on and on, so that its largest value alone says little.
    """
    clean = [entry for entry in tried if (entry.crossing or 0.0) <= _CLEAN]
    top = max(entry.modularity or 0.0 for entry in tried)
    if clean:
        best = clean[-1]
        reason = f"the graph of neighbours falls into {best.k} groups that hardly an edge joins"
    else:
        best = next(entry for entry in tried if (entry.modularity or 0.0) >= top - _LEVEL)
        reason = f"k {best.k} has modularity {best.modularity:.3f}, and no k of {tried[0].k} to {tried[-1].k}"
        reason += f" has more than {top:.3f}"
    if best.k == tried[-1].k and len(tried) > 1:
        reason += "; more may be better still, see --k-max"
    return Choice(best.k, reason, tuple(tried), sampled)


def _compare_with_even(choice: Choice, task: GroupingTask) -> Choice:
    """The same choice, with words where points that are spread evenly have as high a silhouette or modularity.

    They are spread over the box of the rows' principal axes (the reference of Tibshirani, Walther and Hastie,
    "Estimating the number of clusters in a data set via the gap statistic", 2001).
    """
    best = next((entry for entry in choice.tried if entry.k == choice.k), None)
    few = task.rows.shape[1] > _MOST_EVEN_COLUMNS or len(task.rows) < _FEWEST_EVEN_ROWS
    if best is None or few or _is_clear(best):
        return choice
    rows = take(task.rows, sample_indices(len(task.rows), _EVEN_ROWS, task.settings.seed)).astype(np.float64)
    axes = np.linalg.svd(rows - rows.mean(0), full_matrices=False)[2]
    placed = (rows - rows.mean(0)) @ axes.T
    random = numpy_generator(task.settings.seed, "even", choice.k)
    even = random.uniform(placed.min(0), placed.max(0), placed.shape).astype(np.float32)
    own = best.silhouette if best.modularity is None else _measure(rows, best, task)
    score = _measure(even, best, task)
    if own is None or score is None or own > score + _MARGIN:
        return choice
    return replace(choice, reason=f"{choice.reason}; there seem to be no groups: evenly spread points have {score:.3f}")


def _is_clear(best: Tried) -> bool:
    if best.modularity is None:
        return best.silhouette is None or best.silhouette >= _CLEAR
    return (best.crossing or 0.0) <= _CLEAN


def _measure(rows: np.ndarray, like: Tried, task: GroupingTask) -> float | None:
    """Of N × D rows what made another entry's k the best: modularity where that has one, else the silhouette."""
    from sklearn.cluster import KMeans

    seed = task.settings.seed
    if like.modularity is not None:
        return finish(open_cuts(rows, task.device)).cut(like.k, like.k, seed)[1]
    return silhouette(rows, KMeans(like.k, n_init=3, random_state=0).fit_predict(rows), seed)[0]


def decide(tried: list[Tried], sampled: int, count: int) -> Choice:
    """Choose the k of the largest silhouette, and say how clear that is."""
    scored = [entry for entry in tried if entry.silhouette is not None]
    best = max(scored, key=lambda entry: entry.silhouette or 0.0) if scored else tried[0]
    of = f"of a sample of {sampled} of {count} items" if sampled < count else f"of all {count} items"
    score = best.silhouette or 0.0
    reason = f"k {best.k} has the largest silhouette, {score:.3f} ({of}), of k {tried[0].k} to {tried[-1].k}"
    near = [str(entry.k) for entry in scored if entry is not best and (entry.silhouette or 0.0) >= score - _NEARLY]
    if score < _WEAK:
        reason += "; the groups overlap, so look at the sheets before you trust it"
    elif near:
        reason += f"; k {', '.join(near)} would do nearly as well"
    if best.k == tried[-1].k and len(tried) > 1:
        reason += "; more may be better still, see --k-max"
    return Choice(best.k, reason, tuple(tried), sampled)
