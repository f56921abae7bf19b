"""What `soak.py` runs: one command in a forked process, how it ends, and what files it leaves."""

import json
import os
import re
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dltool.__main__ import main as dltool

LIMIT = 2 * 2**30  # bytes that a command may take beyond what Python and torch hold at its start
HANG = 60.0  # seconds
_TIMES = re.compile(r"seconds|per_second|date|time$|version")


@dataclass
class Row:
    """What was seen of one command."""

    runs: int = 0
    files: int = 0
    kills: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    tracebacks: int = 0
    hangs: int = 0
    silent: int = 0
    unequal: int = 0
    peak: int = 0


@dataclass(frozen=True)
class End:
    """How a command ended: its exit code (below 0 a signal), what it printed, its largest resident size in bytes."""

    code: int
    printed: str
    errors: str
    seconds: float
    peak: int
    hung: bool = False
    killed: bool = False

    @property
    def document(self) -> dict[str, Any]:
        """What it printed under --json; empty for none."""
        try:
            return json.loads(self.printed)
        except ValueError:
            return {}


def run_forked(
    words: Sequence[str],
    folder: Path,
    kill_after: float | None,
    limit: float,
    work: Callable[[], None] = dltool,
) -> End:
    """Run dltool, or other work, in a forked process: torch is loaded already, so that it starts at once."""
    output, errors = folder.parent / "stdout", folder.parent / "stderr"
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = _be_dltool(words, folder, output, errors, work)
        finally:
            os._exit(code)
    ended, killed, hung = 0, False, False
    watch = _Watch(child)
    while not ended:
        killed = kill_after is not None and time.monotonic() - started > kill_after
        hung = not killed and watch.is_hung(limit)
        if killed or hung:
            os.kill(child, signal.SIGKILL)
        ended, status, usage = os.wait4(child, 0 if killed or hung else os.WNOHANG)
        time.sleep(0.004)
    code = os.waitstatus_to_exitcode(status)
    texts = [path.read_text(errors="replace") if path.exists() else "" for path in (output, errors)]
    peak = 1024 * usage.ru_maxrss
    return End(code, *texts, time.monotonic() - started, peak, hung, killed and code == -signal.SIGKILL)


class _Watch:
    """Tells a process that hangs: one that computes for too long, or does nothing for a minute."""

    def __init__(self, process: int) -> None:
        self._stat = Path(f"/proc/{process}/stat")
        self._looked = self._moved = time.monotonic()
        self._computed = 0.0

    def is_hung(self, limit: float) -> bool:
        """Whether it has computed for more than `limit` seconds, or not at all for `HANG`; looked at once a second."""
        now = time.monotonic()
        if now - self._looked < 1:
            return False
        self._looked = now
        fields = self._stat.read_text().rpartition(")")[2].split()
        computed = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        if computed > self._computed:
            self._computed, self._moved = computed, now
        return computed > limit or now - self._moved > HANG


def _be_dltool(words: Sequence[str], folder: Path, output: Path, errors: Path, work: Callable[[], None]) -> int:
    for number, path in enumerate((os.devnull, output, errors)):
        opened = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
    held = int(re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (held + LIMIT, held + LIMIT))
    os.chdir(folder)
    sys.argv = ["dltool", *words]
    try:
        work()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def contents(folder: Path) -> dict[str, Any]:
    """Every file below a folder that a run leaves, by name; without seconds, pages, and what is only for resuming."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name in ("last.ckpt", "index.html") or "index_files" in path.parts:
            continue
        content: Any = path.read_bytes()
        if path.name == ".dltool.jsonl":
            content = sorted(set(content.splitlines()[1:]))
        elif path.suffix in (".json", ".jsonl"):
            with suppress(ValueError):  # one that was damaged stays what it is
                content = [_timeless(json.loads(line)) for line in _documents(path, content)]
        elif path.suffix == ".safetensors":
            size = 8 + int.from_bytes(content[:8], "little")
            head = json.loads(content[8:size])
            about = {k: _timeless(json.loads(v)) for k, v in head.pop("__metadata__", {}).items() if v[:1] == "{"}
            content = (head, about, content[size:])
        found[str(path.relative_to(folder))] = content
    return found


def _documents(path: Path, content: bytes) -> list[bytes]:
    return content.splitlines() if path.suffix == ".jsonl" else [content]


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(inner) for name, inner in value.items() if not _TIMES.search(name)}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def report(rows: dict[str, Row]) -> None:
    """Print the table, and the sums of it."""
    head = ("", "runs", "kills", "files", "exit codes", "tracebacks", "hangs", "silent", "unequal", "peak MB")
    lines = [head]
    for name, row in sorted(rows.items()):
        codes = " ".join(f"{code}:{count}" for code, count in sorted(row.codes.items()) if count)
        figures = (row.runs, row.kills, row.files, codes, row.tracebacks, row.hangs, row.silent, row.unequal)
        lines.append((name, *figures, row.peak // 2**20))
    sums = [sum(getattr(row, name) for row in rows.values()) for name in ("runs", "kills", "files")]
    bad = [sum(getattr(row, name) for row in rows.values()) for name in ("tracebacks", "hangs", "silent", "unequal")]
    lines.append(("all", *sums, "", *bad, max(row.peak for row in rows.values()) // 2**20))
    print("\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines))
    print(json.dumps(dict(zip(head[1:4] + head[5:], (*sums, *bad, lines[-1][-1]), strict=True))))
