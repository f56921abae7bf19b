"""Whether `-k auto` finds how many groups there are: `python benchmarks/cluster_k.py [--seeds 5]`.

Blobs of 3, 7, 15 and 40 centres, 50 points each (deviation 1, centres drawn evenly and at least 6 deviations apart, in
a box in which they have room), in 2 and 16 dimensions; then clouds without any groups, spread evenly over a box, which
shall be called that. All with the defaults of `dltool cluster`, which give the points as a table.
"""

import argparse
import json

import numpy as np
import torch

from dltool.cluster import ClusterSettings, group
from dltool.cluster.k_choice import Choice
from dltool.cluster.source import ClusterSource, SourceKind
from dltool.events import finish
from dltool.training.context import RunContext

CENTERS, DIMENSIONS, POINTS, APART = (3, 7, 15, 40), (2, 16), 50, 6.0


def blobs(count: int, dimensions: int, random: np.random.Generator) -> np.ndarray:
    """Points around centres that are drawn until none lies too near to another."""
    side = APART * 2.5 * count ** (1 / 2) if dimensions == 2 else APART * 2
    centers: list[np.ndarray] = []
    while len(centers) < count:
        drawn = random.uniform(0, side, dimensions)
        if all(np.linalg.norm(drawn - other) >= APART for other in centers):
            centers.append(drawn)
    return np.concatenate([random.normal(center, 1, (POINTS, dimensions)) for center in centers])


def choose(rows: np.ndarray, seed: int) -> Choice:
    """What the defaults take for k."""
    source = ClusterSource("points", SourceKind.POINTS, rows=rows.astype(np.float32))
    found = finish(group(source, ClusterSettings(seed=seed), RunContext(torch.device("cpu"))))
    assert found is not None and found.choice is not None
    return found.choice


def main() -> None:
    """Choose, and print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    table, near, total = [], 0, 0
    print("| centres | dimensions | k of auto, one a seed |\n|---|---|---|")
    for count in CENTERS:
        for dimensions in DIMENSIONS:
            found = []
            for seed in range(options.seeds):
                random = np.random.default_rng([count, dimensions, seed])
                found.append(choose(blobs(count, dimensions, random), seed).k)
            near += sum(abs(k - count) <= 1 for k in found)
            total += len(found)
            table.append({"centers": count, "dimensions": dimensions, "k": found})
            print(f"| {count} | {dimensions} | {', '.join(map(str, found))} |", flush=True)
    none = 0
    for dimensions in DIMENSIONS:
        for seed in range(options.seeds):
            cloud = np.random.default_rng([0, dimensions, seed]).uniform(0, 1, (500, dimensions))
            none += "no groups" in choose(cloud, seed).reason
    clouds = len(DIMENSIONS) * options.seeds
    print(f"right or one off in {near} of {total}; no groups said of {none} of {clouds} even clouds")
    print(json.dumps({"near": near, "of": total, "no groups": none, "clouds": clouds, "table": table}))


if __name__ == "__main__":
    main()
