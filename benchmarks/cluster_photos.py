"""How pure the groups are that `dltool cluster` finds among photos, and what its steps are worth.

    python benchmarks/cluster_photos.py [DATA] [--seeds 3] [--json FILE]

DATA holds catanddog, ants_bees and style (the default is DLTOOL_TEST_DATA/data). `mix` is so many images of each of
cats and dogs, ants and bees, paintings, drawn anew for every seed, to be split by kind; with all of them there are a
few paintings among hundreds of photos, so k is 5: each animal and the paintings. Purity is the share of
images whose cluster's most frequent class is theirs; mean over seeds. Rows: the features as they are, angles around
their mean, and the defaults, which also average over neighbours; then the k that `-k auto` takes with the defaults.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dltool.cluster import ClusterData, ClusterSettings, group, open_source
from dltool.cluster.grouping import Grouped
from dltool.cluster.source import ClusterSource
from dltool.cluster.summary import agreement
from dltool.data.splits import join_splits
from dltool.data.store import default_cache
from dltool.events import finish
from dltool.training.context import RunContext

DATA = Path(os.environ.get("DLTOOL_TEST_DATA", Path(__file__).parents[2] / "shared")) / "data"
CONTEXT = RunContext(torch.device("cpu"), cache=default_cache())
WAYS = {
    "features as they are": {"normalize": False, "smooth": 0},
    "angles around the mean": {"smooth": 0},
    "defaults": {},
}


def main() -> None:
    """Group every set in every way and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cats, ants, style = (opened(arguments.data / name) for name in ("catanddog", "ants_bees", "style"))
    paintings = take(style, np.flatnonzero(style.labels == style.class_names.index("paintings")))
    sets = {"cats and dogs": (2, lambda seed: cats), "ants and bees": (2, lambda seed: ants)}
    for name, k, count in (("14 a kind", 3, 14), ("30 a kind", 3, 30), ("all", 5, 10_000)):
        sets[f"mix, {name}"] = k, lambda seed, n=count: mixed([cats, ants, paintings], n, seed)
    table = []
    print("| | pictures | " + " | ".join(WAYS) + " | k of auto |")
    print("|---" * (len(WAYS) + 3) + "|")
    for name, (k, build) in sets.items():
        row: dict[str, object] = {"set": name, "pictures": len(build(0))}
        for way, options in WAYS.items():
            row[way] = float(np.mean([purity(build(s), k, s, options) for s in range(arguments.seeds)]))
        row["auto"] = [run(build(s), ClusterSettings(seed=s)).choice.k for s in range(arguments.seeds)]
        table.append(row)
        values = " | ".join(f"{100 * row[way]:.1f} %" for way in WAYS)
        print(f"| {name} | {row['pictures']} | {values} | {', '.join(str(k) for k in row['auto'])} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=2))


def opened(path: Path) -> ClusterSource:
    """The images of a folder."""
    source = finish(open_source(ClusterData(str(path)), CONTEXT))
    assert source is not None
    return source


def take(source: ClusterSource, indices: np.ndarray) -> ClusterSource:
    """Some of the images."""
    return replace(source, split=source.split.take(indices), labels=source.labels[indices])


def mixed(sources: list[ClusterSource], count: int, seed: int) -> ClusterSource:
    """At most so many images of each source, labelled by it."""
    random = np.random.default_rng(seed)
    parts = [take(source, np.sort(random.permutation(len(source))[:count])) for source in sources]
    labels = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    names = tuple(source.name for source in sources)
    root = Path(os.path.commonpath([source.root for source in sources]))
    split = join_splits([part.split for part in parts])
    return replace(parts[0], split=split, root=root, labels=labels, class_names=names)


def run(source: ClusterSource, settings: ClusterSettings) -> Grouped:
    """The groups of a source."""
    grouped = finish(group(source, settings, CONTEXT))
    assert grouped is not None
    return grouped


def purity(source: ClusterSource, k: int, seed: int, options: dict) -> float:
    """Purity of k groups."""
    return agreement(source, run(source, ClusterSettings(k=k, seed=seed, **options)).clustering).purity


if __name__ == "__main__":
    main()
