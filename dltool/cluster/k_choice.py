"""How many clusters: k-means over a range of k, judged by silhouette, with inertia beside it."""

from collections.abc import Generator
from dataclasses import dataclass, replace

from dltool.cluster.clustering import GroupingStep, GroupingTask
from dltool.cluster.kmeans import group_by_kmeans
from dltool.cluster.scores import count_different, silhouette
from dltool.events import mapped

# Below this, groups overlap so much that their number is a matter of taste (Kaufman and Rousseeuw, 1990: 0.25).
_WEAK = 0.25
_NEARLY = 0.02


@dataclass(frozen=True)
class Tried:
    """One k: silhouette (None where it has no meaning) and inertia."""

    k: int
    silhouette: float | None
    inertia: float


@dataclass(frozen=True)
class Choice:
    """The k that was chosen, why, and what was tried; silhouettes are of `sampled` rows."""

    k: int
    reason: str
    tried: tuple[Tried, ...] = ()
    sampled: int = 0


def choose_k(task: GroupingTask) -> Generator[GroupingStep, None, Choice]:
    """Try every k from `k_min` to `k_max` and choose the largest silhouette; the task's own `k` is ignored."""
    settings = task.settings
    different = count_different(task.rows, settings.k_max + 1)
    if different <= 2:
        reason = "all items are equal" if different == 1 else "there are only two different items"
        return Choice(different, reason)
    tried: list[Tried] = []
    sampled = 0
    highest = min(settings.k_max, different - 1)
    lowest = min(settings.k_min, highest)
    for k in range(lowest, highest + 1):
        step = GroupingStep("choosing k", k - lowest, highest + 1 - lowest, f"k {k}")
        found = yield from mapped(group_by_kmeans(replace(task, k=k)), lambda _, step=step: step)
        score, sampled = silhouette(found.embedding, found.labels, settings.seed)
        tried.append(Tried(k, score, found.inertia))
    return decide(tried, sampled, len(task.rows))


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
