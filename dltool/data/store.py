"""A store on disk of one row of numbers per content: features and fingerprints that need not be computed twice."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from dltool.data.splits import content_hash
from dltool.errors import DltoolError
from dltool.files import write_atomically

CACHE_VARIABLE = "DLTOOL_CACHE"

_DIGEST = "digest"


def default_cache() -> Path:
    """The cache folder: `$DLTOOL_CACHE`, else `dltool` in the user's cache folder (`XDG_CACHE_HOME`, `~/.cache`)."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dltool"


class ContentStore:
    """Rows of equal shape by content hash.

    Every `add` writes one more file, named after what is in it, so that several processes may write at once, a killed
    one loses only what it had not added, and no file is ever changed. A damaged file counts as absent. Where the folder
    cannot be written to, rows are kept in memory alone: a cache is a convenience, never a reason to stop.
    """

    def __init__(self, folder: Path | None) -> None:
        """Keep rows in `folder`; with None nowhere but in memory."""
        self._folder = folder
        self._rows: dict[str, Tensor] = {}
        if folder is not None and folder.is_dir():
            for file in sorted(folder.glob("*.safetensors")):
                self._rows.update(_read_shard(file))

    def missing(self, hashes: Sequence[str]) -> list[int]:
        """Indices of those of `hashes` that have no row; of equal ones the first."""
        first: dict[str, int] = {}
        for index, name in enumerate(hashes):
            if name not in self._rows:
                first.setdefault(name, index)
        return list(first.values())

    def add(self, hashes: Sequence[str], rows: Tensor) -> None:
        """Keep N rows (an N × … tensor on the CPU) for N hashes, on disk as well."""
        self.keep(hashes, rows)
        if self._folder is None or not hashes:
            return
        from safetensors.torch import save

        names = torch.frombuffer(bytearray(bytes.fromhex("".join(hashes))), dtype=torch.uint8).view(len(hashes), -1)
        file = self._folder / f"{content_hash(names.numpy().tobytes())}.safetensors"
        try:
            tensors = {"hashes": names.clone(), "rows": rows.contiguous()}
            write_atomically(file, save(tensors, {_DIGEST: _digest(tensors["rows"])}))
        except DltoolError:
            self._folder = None

    def keep(self, hashes: Sequence[str], rows: Tensor) -> None:
        """Keep rows in memory only, as a process does whose rows another one writes."""
        self._rows.update(zip(hashes, rows.unbind(), strict=True))

    def rows(self, hashes: Sequence[str]) -> Tensor:
        """Return the N × … rows of N hashes.

        Raises:
            KeyError: one of them is missing.
        """
        return torch.stack([self._rows[name] for name in hashes])

    def __contains__(self, name: str) -> bool:
        return name in self._rows


def _digest(rows: Tensor) -> str:
    """Of the numbers alone: damaged names are names that nobody asks for."""
    return content_hash(rows.contiguous().flatten().view(torch.uint8).numpy().tobytes())


def _read_shard(file: Path) -> Iterator[tuple[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as shard:
            names, rows = shard.get_tensor("hashes").numpy(), shard.get_tensor("rows")
            digest = (shard.metadata() or {}).get(_DIGEST)
        # One without a digest is of an older dltool.
        if (digest is None or digest == _digest(rows)) and torch.isfinite(rows).all():
            yield from zip((row.tobytes().hex() for row in names), rows.unbind(), strict=True)
    except (SafetensorError, OSError, KeyError, ValueError):
        return
