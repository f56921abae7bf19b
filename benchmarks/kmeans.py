"""How fast one iteration of Lloyd's algorithm is, and how much memory it takes: dltool beside other libraries.

    python benchmarks/kmeans.py [--threads 2] [--iterations 20] [--repeats 3] [--minibatch-gb 0] [--json FILE]

All start from the same k-means++ centres on the same overlapping random blobs and do the same number of iterations.
Each contestant runs in a process of its own, which makes the data, warms up, and is then timed `--repeats` times; the
median counts. Memory is what the peak of the process rises above what it held with the data in memory. `dltool` is
what `dltool cluster` runs on a CPU; `dltool, torch` is the loop that it runs on a GPU, here in chunks on the CPU;
`plain torch` is addmm over the whole table. CPU seconds are those of the process: beside other busy processes they say
more than the clock does. Inertia is recomputed in float64 from each one's centres; agreement with
scikit-learn is taken where both have settled (tolerance 0, at most 1,000 iterations); the torch loop, which adds up in
float64, is compared with scikit-learn on float64 rows.

`--minibatch-gb 4` also writes a table of that size into a temporary folder and runs `dltool cluster --method minibatch`
on it, `--gpu` times 1,000,000 × 128 with k = 1,000 on a CUDA device.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

SHAPES = ((200_000, 64, 10), (200_000, 64, 100), (60_000, 784, 10), (60_000, 784, 100))
CONTESTANTS = ("scikit-learn", "dltool", "dltool, torch", "faiss", "plain torch")


def main() -> None:
    """Run every contestant on every shape and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shapes", help="n,d,k;n,d,k instead of the usual ones")
    parser.add_argument("--minibatch-gb", type=float, default=0)
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--shape", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        shape = tuple(int(number) for number in arguments.shape.split(","))
        print(json.dumps(contest(arguments.contestant, shape, arguments.iterations, arguments.repeats)))
        return
    shapes = SHAPES
    if arguments.shapes:
        shapes = tuple(tuple(int(number) for number in text.split(",")) for text in arguments.shapes.split(";"))
    rows = []
    for shape in shapes:
        n, d, k = shape
        print(f"\n{n:,} × {d}, k = {k}, {arguments.threads} threads\n", flush=True)
        print("| | s an iteration | ratio | CPU s | ratio | peak MB | inertia, relative | settled: labels, inertia |")
        print("|---|---|---|---|---|---|---|---|")
        base = None
        for name in CONTESTANTS:
            if name == "faiss" and find_spec("faiss") is None:
                print("| faiss | not installed (faiss-cpu) |", flush=True)
                continue
            row = in_process(name, shape, arguments)
            base = base or row
            row |= {"ratio": row["seconds"] / base["seconds"], "relative": row["inertia"] / base["inertia"] - 1}
            row |= {"cpu_ratio": row["cpu_seconds"] / base["cpu_seconds"]}
            rows.append(row)
            settled = f"{row['differ']}, {row['settled']:.1e}" if row["differ"] is not None else ""
            print(
                f"| {name} | {row['seconds']:.4f} | {row['ratio']:.2f} | {row['cpu_seconds']:.4f} "
                f"| {row['cpu_ratio']:.2f} | {row['peak_mb']:.0f} | {row['relative']:.1e} | {settled} |",
                flush=True,
            )
    if arguments.gpu:
        rows.append(in_process("gpu", (1_000_000, 128, 1000), arguments))
        print(f"\n1,000,000 × 128, k = 1,000 on {rows[-1]['device']}: {rows[-1]['seconds']:.4f} s an iteration")
    if arguments.minibatch_gb:
        rows.append(minibatch_command(arguments.minibatch_gb, arguments.threads))
        print("\nminibatch:", json.dumps(rows[-1]))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


def in_process(name: str, shape: tuple[int, int, int], arguments: argparse.Namespace) -> dict:
    """One contestant in a process of its own, with so many threads."""
    threads = {key: str(arguments.threads) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    words = [sys.executable, __file__, "--contestant", name, "--shape", ",".join(str(number) for number in shape)]
    words += ["--iterations", str(arguments.iterations), "--repeats", str(arguments.repeats)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **threads})
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1]) | {"name": name, "shape": shape, "threads": arguments.threads}


def contest(name: str, shape: tuple[int, int, int], iterations: int, repeats: int) -> dict:
    """Time one contestant; see the module's text."""
    import numpy as np
    import torch

    from dltool.cluster.distances import exact_distances, find_nearest, mean_row
    from dltool.cluster.initial_centers import spread_centers

    cpu = torch.device("cpu")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    n, d, k = shape
    random = np.random.default_rng(0)
    middles = random.normal(0, 4, (30, d)).astype(np.float32)
    rows = np.empty((n, d), np.float32)
    for start in range(0, n, 10_000):
        part = rows[start : start + 10_000]
        part[:] = (
            random.standard_normal(part.shape, dtype=np.float32) * 6 + middles[random.integers(30, size=len(part))]
        )
    origin, _ = mean_row(rows, cpu)
    start = spread_centers(rows, k, origin, cpu, 0)
    if name == "gpu":
        return on_gpu(rows, start, origin, iterations, repeats)
    run = runner(name, rows, start, origin)
    run(1)
    before = resident_mb()
    seconds, cpu_seconds = [], []
    for _ in range(repeats):
        began, cpu_began = time.perf_counter(), time.process_time()
        centers, done = run(iterations)
        seconds.append((time.perf_counter() - began) / done)
        cpu_seconds.append((time.process_time() - cpu_began) / done)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    labels = find_nearest(rows, centers, origin).labels
    result = {"seconds": statistics.median(seconds), "cpu_seconds": statistics.median(cpu_seconds)}
    result |= {"peak_mb": max(0.0, peak), "iterations": done}
    result |= {"inertia": exact_distances(rows, labels, centers)[1], "differ": None, "settled": None}
    if name.startswith("dltool"):
        result |= settled(rows, start, origin, name == "dltool")
    return result


def settled(rows: object, start: object, origin: object, default: bool) -> dict:
    """Labels that differ from scikit-learn's, and the relative difference of inertia, once both have settled.

    The torch loop adds up in float64, so it is compared with scikit-learn on float64 rows.
    """
    import numpy as np
    import torch
    from sklearn.cluster import KMeans

    from dltool.cluster.distances import exact_distances
    from dltool.cluster.kmeans import lloyd, lloyd_torch

    ours = (lloyd if default else lloyd_torch)(rows, start, origin, 1000, 0.0)
    kind = np.float32 if default else np.float64
    fitted = KMeans(len(start), init=start.numpy().astype(kind), n_init=1, max_iter=1000, tol=0).fit(rows.astype(kind))
    labels = torch.from_numpy(fitted.labels_.astype(np.int64))
    theirs = exact_distances(rows, labels, torch.from_numpy(fitted.cluster_centers_.astype(np.float32)))[1]
    inertia = exact_distances(rows, ours.labels, ours.centers)[1]
    return {"differ": int((ours.labels != labels).sum()), "settled": inertia / theirs - 1}


def runner(name: str, rows: object, start: object, origin: object) -> object:
    """A function from a number of iterations to (centres, iterations that were done)."""
    import numpy as np
    import torch

    from dltool.cluster.kmeans import lloyd, lloyd_torch

    k = len(start)

    def ours(iterations: int) -> tuple:
        run = lloyd(rows, start, origin, iterations, 0.0)
        return run.centers, run.iterations

    def chunked(iterations: int) -> tuple:
        run = lloyd_torch(rows, start, origin, iterations, 0.0)
        return run.centers, run.iterations

    def sklearn(iterations: int) -> tuple:
        from sklearn.cluster import KMeans

        run = KMeans(k, init=start.numpy(), n_init=1, max_iter=iterations, tol=0).fit(rows)
        return torch.from_numpy(run.cluster_centers_.astype(np.float32)), run.n_iter_

    def faiss(iterations: int) -> tuple:
        import faiss

        faiss.omp_set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        run = faiss.Kmeans(rows.shape[1], k, niter=iterations, max_points_per_centroid=len(rows))
        run.train(rows, init_centroids=start.numpy())
        return torch.from_numpy(np.array(run.centroids)), iterations

    def plain(iterations: int) -> tuple:
        x, centers = torch.from_numpy(rows), start.clone()
        for _ in range(iterations):
            nearest = torch.addmm(centers.square().sum(1), x, centers.T, alpha=-2).argmin(1)
            sums = torch.zeros_like(centers).index_add_(0, nearest, x)
            centers = sums / torch.bincount(nearest, minlength=k)[:, None].clamp_min(1)
        return centers, iterations

    return dict(zip(CONTESTANTS, (sklearn, ours, chunked, faiss, plain), strict=True))[name]


def on_gpu(rows: object, start: object, origin: object, iterations: int, repeats: int) -> dict:
    """The torch loop on a CUDA device."""
    import torch

    from dltool.cluster.kmeans import lloyd_torch

    device = torch.device("cuda")
    moved = torch.from_numpy(rows).to(device)
    seconds = []
    for _ in range(repeats + 1):
        torch.cuda.synchronize()
        began = time.perf_counter()
        run = lloyd_torch(moved, start.to(device), origin.to(device), iterations, 0.0)
        torch.cuda.synchronize()
        seconds.append((time.perf_counter() - began) / run.iterations)
    peak = torch.cuda.max_memory_allocated() / 2**20
    return {"seconds": statistics.median(seconds[1:]), "device": torch.cuda.get_device_name(), "peak_mb": peak}


def minibatch_command(gigabytes: float, threads: int) -> dict:
    """`dltool cluster --method minibatch` on a table of that many gigabytes: seconds and the peak of its process."""
    import numpy as np

    d = 128
    n = int(gigabytes * 2**30 / (4 * d))
    random = np.random.default_rng(0)
    middles = random.normal(0, 4, (50, d)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.npy"
        # No memory map: the peak of this process would count as that of the command it starts.
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (n, d)})
            for start in range(0, n, 100_000):
                size = min(100_000, n - start)
                noise = random.standard_normal((size, d), dtype=np.float32) * 2
                file.write((noise + middles[random.integers(50, size=size)]).tobytes())
        command = [sys.executable, "-m", "dltool", "cluster", str(path), "-o", f"{folder}/out", "-k", "50"]
        command += ["--method", "minibatch", "--threads", str(threads), "--json", "-q"]
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        document = json.loads(process.stdout.read())
        usage = os.wait4(process.pid, 0)[2]
        seconds = time.perf_counter() - began
    per_row = document["metrics"]["inertia"] / n
    return {
        "rows": n,
        "seconds": seconds,
        "peak_mb": usage.ru_maxrss / 1024,
        "inertia_per_row": per_row,
        "noise": 4.0 * d,
    }


def resident_mb() -> float:
    """Megabytes that this process holds now; its peak so far is at least that."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
