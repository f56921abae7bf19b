"""Features of frozen bodies, computed once for each content and kept on disk."""

import copy
import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dltool.backbones.fold import fold_batchnorm
from dltool.backbones.pooled import MultiScale
from dltool.backbones.preprocessing import Preprocessing
from dltool.data.pixels import PixelReader
from dltool.data.splits import Split
from dltool.data.store import ContentStore
from dltool.device import is_out_of_memory
from dltool.errors import DeviceError, DltoolError
from dltool.images.stream import read_ahead
from dltool.training import distributed

_BATCH = 16
# Features are written as often as this, and when the work is left.
_FLUSH_SECONDS = 10.0
# To be raised whenever bodies or preprocessing compute something else with the same weights.
_CACHE_VERSION = 2


@dataclass(frozen=True)
class Extracted:
    """Images that went through the body: `done` of `total`, those found in the store not counted."""

    done: int
    total: int


class FeatureExtractor:
    """A frozen body as a function from images to features, with a store behind it.

    Batch norms are folded into convolutions and memory is laid out channels-last; the result is the same function up
    to rounding, in about half the time.

    Attributes:
        key: hash of everything that features depend on but for the image.
    """

    def __init__(
        self,
        body: nn.Module,
        preprocessing: Preprocessing,
        device: torch.device,
        bf16: bool = False,
        cache: Path | None = None,
    ) -> None:
        """Copy `body` to the device; `cache` is the folder of all stores, None keeps features in memory only."""
        self.preprocessing = preprocessing
        self.device = device
        self._bf16 = bf16
        self._body = self._prepare(body)
        self._cache = cache
        self.key = _body_key(body, preprocessing, device, bf16)
        self._stores: dict[bool, ContentStore] = {}

    def _prepare(self, body: nn.Module) -> nn.Module:
        side = self.preprocessing.crop
        if isinstance(body, MultiScale):
            folded: nn.Module = MultiScale(
                fold_batchnorm(body.network, torch.zeros(1, 3, side, side), set()), body.small
            )
        else:
            folded = fold_batchnorm(body, torch.zeros(1, 3, side, side), set())
        if folded is body:
            folded = copy.deepcopy(body)
        return folded.requires_grad_(False).eval().to(self.device, memory_format=torch.channels_last)

    def store(self, flipped: bool = False) -> ContentStore:
        """The rows known for this body and preprocessing, of images as they are or mirrored."""
        if flipped not in self._stores:
            folder = self._cache / "features" / f"{self.key}{'-flipped' if flipped else ''}" if self._cache else None
            self._stores[flipped] = ContentStore(folder)
        return self._stores[flipped]

    def __call__(self, pixels: np.ndarray, flipped: bool = False) -> Tensor:
        """Return N × D float32 features on the CPU of N × crop × crop × 3 uint8 pixels.

        Raises:
            DeviceError: not even one image fits into memory.
        """
        parts = []
        step = _BATCH
        start = 0
        while start < len(pixels):
            batch = torch.from_numpy(np.ascontiguousarray(pixels[start : start + step])).to(self.device)
            try:
                parts.append(self._forward(batch, flipped).cpu())
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if step == 1:
                    raise DeviceError("out of memory with one picture; try a smaller --size or --backbone") from error
                step //= 2
                continue
            start += step
        return torch.cat(parts)

    @torch.inference_mode()
    def _forward(self, batch: Tensor, flipped: bool) -> Tensor:
        images = self.preprocessing.normalize(batch.permute(0, 3, 1, 2).float() / 255)
        if flipped:
            images = images.flip(3)
        with self._autocast():
            return self._body(images.contiguous(memory_format=torch.channels_last)).float()

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16) if self._bf16 else nullcontext()

    def fill(self, split: Split, reader: PixelReader, workers: int, flipped: bool = False) -> Iterator[Extracted]:
        """Compute the rows of a split's contents that the store lacks; under torchrun every process does a share.

        Raises:
            DataError: an image cannot be read.
        """
        store = self.store(flipped)
        missing = store.missing(split.hashes)
        own = missing[distributed.rank() :: distributed.world_size()]
        batches = [own[start : start + _BATCH] for start in range(0, len(own), _BATCH)]
        hashes: list[str] = []
        rows: list[Tensor] = []

        def read(batch: Sequence[int]) -> np.ndarray:
            return np.stack([self.preprocessing.crop_pixels(reader.read(split, index)) for index in batch])

        alone = distributed.world_size() == 1
        flushed = time.monotonic()
        try:
            for number, (batch, pixels) in enumerate(read_ahead(batches, read, workers), start=1):
                if isinstance(pixels, DltoolError):
                    raise pixels
                computed = self(pixels, flipped)
                hashes += [split.hashes[index] for index in batch]
                rows.append(computed)
                if alone and time.monotonic() - flushed >= _FLUSH_SECONDS:
                    store.add(hashes, torch.cat(rows))
                    hashes, rows, flushed = [], [], time.monotonic()
                yield Extracted(min(number * _BATCH, len(own)), len(own))
        finally:  # whoever stops here will not want to compute it again
            if alone and hashes:
                store.add(hashes, torch.cat(rows))
        if distributed.world_size() > 1 and missing:
            dim = rows[0].shape[1] if rows else 0
            dim = int(distributed.max_over_ranks(torch.tensor(dim, device=self.device)).item())
            mine = torch.cat(rows) if rows else torch.zeros(0, dim)
            everything = distributed.gather_rows(mine.to(self.device), len(missing)).cpu()
            if distributed.rank() == 0:
                store.add([split.hashes[index] for index in missing], everything)
            else:
                store.keep([split.hashes[index] for index in missing], everything)


def _body_key(body: nn.Module, preprocessing: Preprocessing, device: torch.device, bf16: bool) -> str:
    """Hash of everything that features depend on but for the image: weights, layers, preprocessing, arithmetic."""
    digest = hashlib.blake2b(digest_size=12)
    digest.update(f"{_CACHE_VERSION}|{preprocessing}|{device.type}|{bf16}|{torch.__version__}|{body}".encode())
    for name, tensor in body.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
