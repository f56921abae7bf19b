"""The files of a result: who is where, and the summary."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dltool.cluster.clustering import Clustering
from dltool.cluster.distances import Rows
from dltool.cluster.grouping import Grouped
from dltool.cluster.k_choice import Choice
from dltool.cluster.scores import (
    Agreement,
    cluster_sizes,
    compare_with_classes,
    find_copies,
    plain_agreement,
    silhouette,
)
from dltool.cluster.settings import count_of
from dltool.cluster.source import ClusterSource, SourceKind
from dltool.files import open_atomically, write_atomically
from dltool.tables import to_csv

_LINES = 65_536


def write_assignments(path: Path, source: ClusterSource, clustering: Clustering) -> None:
    """Write `file,cluster,distance,margin`, a row per item; `file` is a path relative to the data's folder.

    Raises:
        DltoolError: the file cannot be written.
    """
    columns = clustering.labels, clustering.distances, clustering.margins
    with open_atomically(path) as file:
        file.write(b"file,cluster,distance,margin\n")
        for start in range(0, len(source), _LINES):
            rows = []
            for index, values in enumerate(zip(*(c[start : start + _LINES].tolist() for c in columns), strict=True)):
                label, distance, margin = values
                rows.append([source.item(start + index), label, f"{distance:.6g}", f"{margin:.6g}"])
            file.write(to_csv(rows))


def write_places(path: Path, source: ClusterSource, chosen: np.ndarray, places: np.ndarray) -> None:
    """Write `file,x,y`: where items are on the map, which may be some of them only.

    Args:
        chosen: M indices of items.
        places: M × 2.

    Raises:
        DltoolError: the file cannot be written.
    """
    rows = [
        (source.item(index), f"{x:.6g}", f"{y:.6g}")
        for index, (x, y) in zip(chosen.tolist(), places.tolist(), strict=True)
    ]
    write_atomically(path, to_csv([("file", "x", "y"), *rows]))


def write_embeddings(path: Path, rows: Rows) -> None:
    """Write N × D float32 rows as an .npy file, piece by piece.

    Raises:
        DltoolError: the file cannot be written.
    """
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(rows), int(rows.shape[1]))}
    with open_atomically(path) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(rows), _LINES):
            file.write(np.ascontiguousarray(np.asarray(rows[start : start + _LINES]), "<f4").tobytes())


def agreement(source: ClusterSource, clustering: Clustering) -> Agreement | None:
    """How clusters agree with the classes that are known; None without classes."""
    if source.labels is None:
        return None
    return compare_with_classes(clustering.labels, source.labels, len(clustering.centers), len(source.class_names))


def summarize(grouped: Grouped, seed: int) -> dict[str, Any]:
    """Everything that `clusters.json` says of a result."""
    source, clustering = grouped.source, grouped.clustering
    k = len(clustering.centers)
    score, sampled = silhouette(clustering.embedding, clustering.labels, seed)
    found = agreement(source, clustering)
    hashes = source.split.hashes if source.kind is SourceKind.FILES else ()
    copies = find_copies(hashes, clustering.labels) if hashes else []
    metrics: dict[str, Any] = {"silhouette": score, "silhouette_rows": sampled, "inertia": clustering.inertia}
    if found is not None:
        metrics |= plain_agreement(found)
    if clustering.outliers:
        metrics["outliers"] = clustering.outliers
    return {
        "data": source.name,
        "kind": source.kind.value,
        "count": len(source),
        "k": k,
        "k_choice": _choice(grouped.choice),
        "features": None if grouped.embedder is None else grouped.embedder.features,
        "columns": source.columns,
        "standardized": _standardized(grouped),
        "dimensions": int(clustering.embedding.shape[1]),
        "smoothed": grouped.smoothed,
        "iterations": clustering.iterations,
        "metrics": metrics | clustering.figures,
        "clusters": _clusters(source, clustering, found),
        "copies": [[source.item(index) for index in group] for group in copies],
        "notes": source.notes,
        "unreadable": source.unreadable,
    }


def _standardized(grouped: Grouped) -> bool | None:
    """Whether a table's columns were brought to one spread; None where that was the model's doing, or for images."""
    scaling = None if grouped.embedder is None else grouped.embedder.scaling
    return None if scaling is None else scaling.scale is not None


def _clusters(source: ClusterSource, clustering: Clustering, found: Agreement | None) -> list[dict[str, Any]]:
    rows = []
    for number, size in enumerate(cluster_sizes(clustering.labels, len(clustering.centers))):
        members = from_center(clustering, number)
        row: dict[str, Any] = {
            "cluster": number,
            "size": size,
            "mean_distance": float(clustering.distances[members].mean()) if size else None,
            "most_typical": source.item(int(members[0])) if size else None,
            "least_typical": source.item(int(members[-1])) if size else None,
        }
        if clustering.outliers and number == len(clustering.centers) - 1:
            row["outliers"] = True
        if found is not None:
            match = found.matching[number]
            row["class"] = source.class_names[match] if match >= 0 else None
            row["counts"] = dict(zip(source.class_names, found.table[number], strict=True))
        rows.append(row)
    return rows


def from_center(clustering: Clustering, number: int) -> np.ndarray:
    """Indices of a cluster's items, from its centre out."""
    members = np.flatnonzero(clustering.labels == number)
    return members[np.argsort(clustering.distances[members], kind="stable")]


def _choice(choice: Choice | None) -> dict[str, Any] | None:
    return None if choice is None else asdict(choice)


def describe_summary(summary: dict[str, Any]) -> list[str]:
    """Lines for people about a result, as `clusters.json` holds it."""
    lines = []
    for row in summary["clusters"]:
        text = f"cluster {row['cluster']}: {count_of(row['size'], summary['kind'])}"
        if row["size"] and row.get("counts"):
            counts = sorted(((n, name) for name, n in row["counts"].items() if n), reverse=True)
            text += f" ({', '.join(f'{n} {name}' for n, name in counts[:4])}{', …' if len(counts) > 4 else ''})"
        elif row["size"] and summary["kind"] == "pictures":
            text += f", most typical {row['most_typical']}"
        lines.append(text + (", which fit into no other" if row.get("outliers") else ""))
    metrics = summary["metrics"]
    if metrics.get("accuracy") is not None:
        lines.append(
            f"against the classes: accuracy {100 * metrics['accuracy']:.1f} %, purity {100 * metrics['purity']:.1f} %, "
            f"NMI {metrics['nmi']:.3f}, ARI {metrics['ari']:.3f}"
        )
    if metrics.get("silhouette") is not None:
        lines.append(f"silhouette {metrics['silhouette']:.3f} (of {metrics['silhouette_rows']} items)")
    alike = summary.get("duplicates")
    if alike:
        first = alike[0]["images"]
        lines.append(f"images that show the same: {len(alike)} groups, such as {first[0]['file']}, {first[1]['file']}")
    copies = summary["copies"]
    if copies:
        more = count_of(sum(len(group) - 1 for group in copies), "pictures")
        lines.append(f"copies: {more} more than once in a cluster, such as {copies[0][0]}")
    return lines
