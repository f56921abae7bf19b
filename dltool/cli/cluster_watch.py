"""What people see of a grouping while it runs, and of its result."""

from typing import Any

from dltool.cli.watch import EventWatcher
from dltool.cluster.settings import count_of

_MOST_LISTED = 8


class Watcher(EventWatcher):
    """Turns the events of a run into progress and lines for people."""

    def _Step(self, event: Any) -> None:  # noqa: N802
        self._progress.update(event.task, event.done, event.total, event.figure)

    def _Choice(self, event: Any) -> None:  # noqa: N802
        self._say(f"{count_of(event.k, 'clusters')}: {event.reason}")

    def _Source(self, event: Any) -> None:  # noqa: N802
        classes = f" (scored against {len(event.class_names)} classes)" if event.labels is not None else ""
        self._say(f"data: {count_of(len(event), event.kind.value)}{classes}")
        for note in event.notes:
            self._say(f"  note: {note}")
        for text in event.unreadable[:_MOST_LISTED]:
            self._say(f"  left out: {text}")
        if len(event.unreadable) > _MOST_LISTED:
            self._say(f"  left out: {len(event.unreadable) - _MOST_LISTED} more files that cannot be read")


def describe_result(summary: dict[str, Any]) -> list[str]:
    """Lines for people about a result, as `clusters.json` holds it."""
    lines = []
    for row in summary["clusters"]:
        text = f"cluster {row['cluster']}: {count_of(row['size'], summary['kind'])}"
        if row["size"] and row.get("counts"):
            counts = sorted(((n, name) for name, n in row["counts"].items() if n), reverse=True)
            text += f" ({', '.join(f'{n} {name}' for n, name in counts[:4])}{', …' if len(counts) > 4 else ''})"
        elif row["size"] and summary["kind"] == "pictures":
            text += f", most typical {row['most_typical']}"
        lines.append(text)
    metrics = summary["metrics"]
    if metrics.get("accuracy") is not None:
        lines.append(
            f"against the classes: accuracy {100 * metrics['accuracy']:.1f} %, purity {100 * metrics['purity']:.1f} %, "
            f"NMI {metrics['nmi']:.3f}, ARI {metrics['ari']:.3f}"
        )
    if metrics.get("silhouette") is not None:
        lines.append(f"silhouette {metrics['silhouette']:.3f} (of {metrics['silhouette_rows']} items)")
    copies = summary["copies"]
    if copies:
        more = count_of(sum(len(group) - 1 for group in copies), "pictures")
        lines.append(f"copies: {more} more than once in a cluster, such as {copies[0][0]}")
    return lines
