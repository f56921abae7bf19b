"""Finding images that show the same: equal ones, altered copies, takes of one scene; and which of them to keep."""

import hashlib
import math
from collections import defaultdict, deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dltool.cluster.alignment import WORTH_MEASURING, Alignment, align, place
from dltool.cluster.clustering import GroupingStep
from dltool.cluster.likeness import Candidates, find_candidates, inverse, thumbnail, turned
from dltool.cluster.settings import ClusterData, count_of
from dltool.data.check import Checked
from dltool.data.load import check_data, list_data
from dltool.data.splits import FileSplit
from dltool.data.store import ContentStore
from dltool.errors import DltoolError
from dltool.images.read import read_image
from dltool.images.stream import read_ahead
from dltool.training.context import RunContext

_BATCH = 256
# Thumbnails of JPEGs are made from no less than four times their side.
_READ_SIDE = 128
# Chosen by benchmarks/duplicates.py on 100 photos and on parts of regular patterns: altered copies are upright, one has
# all of the other, details agree, and no other place of theirs is nearly as like.
_COPY, _COPY_OVERLAP, _WHOLE = 0.8, 0.3, 0.95
_COPY_FINE, _COPY_SHEAR, _COPY_DOUBT = 0.7, 0.04, 0.2
# Half of the pairs that resemble each other at first have less when scaled and shifted; of copies and takes hardly one.
_ROUGHLY = 0.58
# Takes of one scene: many small patches are alike, whatever the rest does, and the colours are; nothing repeats itself.
_TAKE, _TAKE_PATCHES, _TAKE_OVERLAP, _TAKE_TINT = WORTH_MEASURING, 0.45, 0.55, 10.0
_TAKE_SHEAR, _TAKE_DOUBT, _TAKE_REPEATS = 0.1, 0.7, 0.5
# An image with less of its contrast in its finest details counts as one that has been enlarged.
_SHARP = 0.05
# Numbers of pixels that count as equal, as a difference of logarithms.
_AS_MANY = 0.05


class GroupKind(StrEnum):
    """What the images of a group have in common."""

    COPIES = "copies"
    SCENE = "scene"


@dataclass(frozen=True)
class Link:
    """What an image is beside another one.

    Attributes:
        similarity: correlation of brightness less its surroundings, where the two overlap; 1 for equal files.
        orientation: as `dltool.cluster.likeness.turned` makes it of the other.
        shown, covered: share of the other that the image shows, and of the image that the other has.
        lighter: how much brighter it is, of 255.
        tint: how much the colours differ, of 255.
    """

    similarity: float = 1.0
    orientation: int = 0
    shown: float = 1.0
    covered: float = 1.0
    lighter: float = 0.0
    tint: float = 0.0

    def reversed(self) -> "Link":
        """What the other one is beside this image."""
        back = inverse(self.orientation)
        return Link(self.similarity, back, self.covered, self.shown, -self.lighter, self.tint)


# From each image to those that resemble it, with what they are beside it.
Links = dict[int, list[tuple[int, Link]]]


@dataclass(frozen=True)
class Measured:
    """An image in its full size.

    Attributes:
        sharpness: share of its contrast that is lost at half its size, less where much of it is clipped.
        pixels: a digest of them.
    """

    width: int
    height: int
    sharpness: float
    bytes: int
    pixels: str

    @property
    def worth(self) -> tuple[int, float, int]:
        """What is kept has the most pixels, where there is something fine in them, and of as many is the sharper one.

        Sharpness counts with the size of the file, up to a byte a pixel: what coarse compression puts into an image
        looks sharp as well. Of equal pixels the smaller file is kept.
        """
        detail = self.width * self.height * min(1.0, self.sharpness / _SHARP) ** 2
        return (
            round(math.log(max(detail, 1.0)) / _AS_MANY),
            self.sharpness * min(self.bytes, self.width * self.height) ** 0.5,
            -self.bytes,
        )


@dataclass(frozen=True)
class Member:
    """An image in a group: what it is beside the member at `like`, which is None for the one that is to be kept."""

    path: Path
    name: str
    measured: Measured
    like: int | None = None
    link: Link = field(default_factory=Link)


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that show the same, the one to keep first."""

    kind: GroupKind
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Duplicates:
    """What was found among `count` images of a folder, the largest groups of copies first, then scenes."""

    name: str
    count: int
    groups: tuple[DuplicateGroup, ...]
    notes: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """How many images could go, and an example."""
        copies, scenes = ([group for group in self.groups if group.kind is kind] for kind in GroupKind)
        spare = sum(len(group.members) - 1 for group in copies)
        lines = [
            f"{count_of(self.count, 'pictures')}: {spare} of them copies of others, in "
            f"{count_of(len(copies), 'groups')}; {count_of(len(scenes), 'scenes')} taken more than once"
        ]
        if self.groups:
            largest = self.groups[0]
            lines.append(f"such as {largest.members[0].name}, which is like {largest.members[1].name}")
        return lines


def find_duplicates(
    data: ClusterData, context: RunContext, exclude: Path | None = None
) -> Generator[Checked | GroupingStep, None, Duplicates]:
    """Find the images of a folder that show the same.

    Each is decoded once for a thumbnail, and those in groups once more in full.

    Args:
        exclude: a folder whose images are not read: the output.

    Raises:
        DataError: no such data, or nothing readable in it.
        SettingsError: the data is the folder that is to be left out.
    """
    listed = list_data(data, exclude)
    store = ContentStore(context.cache / "thumbnails" if context.cache else None)
    report = yield from check_data(listed, data, store, _read, context.workers, describe=thumbnail)
    split = report.dataset.splits["train"]
    groups = yield from group_alike(split, Path(data.source), store, context.workers)
    return Duplicates(report.dataset.name, len(split), groups, report.notes, report.unreadable)


def group_alike(
    split: FileSplit, root: Path, store: ContentStore, workers: int
) -> Generator[GroupingStep, None, tuple[DuplicateGroup, ...]]:
    """Group those of a split's files that show the same, each content being compared once.

    Args:
        root: the folder that names are relative to.
        store: thumbnails; of files that it has none of, damaged ones of which a part is used, they are made.
    """
    first = list(dict.fromkeys(split.hashes))
    place = {content: number for number, content in enumerate(first)}
    equal: dict[int, list[int]] = defaultdict(list)
    for number, content in enumerate(split.hashes):
        equal[place[content]].append(number)
    for number in store.missing(first):
        pixels = _read(split.paths[equal[number][0]])
        store.keep([first[number]], torch.from_numpy(thumbnail(pixels))[None])
    links = yield from _link_all(store.rows(first).permute(0, 3, 1, 2).contiguous())
    return (yield from _Groups(split.paths, root, equal, links).make(workers))


def _read(path: Path) -> np.ndarray:
    return read_image(path, shortest_side=_READ_SIDE).pixels


def _link_all(thumbnails: torch.Tensor) -> Generator[GroupingStep, None, dict[GroupKind, Links]]:
    """Lay every likely pair on each other, and link those that are copies or takes of one scene."""
    pairs = yield from find_candidates(thumbnails)
    links: dict[GroupKind, Links] = {kind: defaultdict(list) for kind in GroupKind}
    for start in range(0, len(pairs), _BATCH):
        yield GroupingStep("aligning pairs", start, len(pairs))
        for kind, one, other, link in _link(thumbnails, pairs.take(slice(start, start + _BATCH))):
            links[kind][one].append((other, link))
            links[kind][other].append((one, link.reversed()))
    return links


def _link(thumbnails: torch.Tensor, pairs: Candidates) -> Iterator[tuple[GroupKind, int, int, Link]]:
    """Those of a few pairs that are linked: first and second image, and what the second is beside the first."""
    turns = zip(pairs.second.tolist(), pairs.orientation.tolist(), strict=True)
    seen = torch.stack([turned(thumbnails[image], turn) for image, turn in turns]).float()
    own = thumbnails[pairs.first].float()
    matrix, rough = place(own, seen, torch.from_numpy(pairs.start))
    kept = (rough >= _ROUGHLY).nonzero()[:, 0]
    if not len(kept):
        return
    found, pairs = align(own[kept], seen[kept], matrix[kept]), pairs.take(kept.numpy())
    names = pairs.first, pairs.second, pairs.orientation
    figures = found.correlation, found.overlap, found.area, found.lighter, found.tint, _copies(found), _takes(found)
    for one, other, turn, *values in zip(*(row.tolist() for row in (*names, *figures)), strict=True):
        similarity, overlap, area, lighter, tint, copy, take = values
        if copy or take:
            link = Link(min(1.0, similarity), inverse(turn), min(1.0, overlap * area), overlap, lighter, tint)
            yield GroupKind.COPIES if copy else GroupKind.SCENE, one, other, link


def _copies(found: Alignment) -> torch.Tensor:
    """Which pairs are altered copies, such as parts, of each other."""
    shown = (found.overlap * found.area).clamp_max(1.0)
    alike = (found.correlation >= _COPY) & (found.fine >= _COPY_FINE) & (found.doubt <= _COPY_DOUBT)
    whole = torch.maximum(found.overlap, shown) >= _WHOLE
    return alike & whole & (torch.minimum(found.overlap, shown) >= _COPY_OVERLAP) & (found.shear <= _COPY_SHEAR)


def _takes(found: Alignment) -> torch.Tensor:
    """Which pairs show one scene."""
    alike = (found.correlation >= _TAKE) & (found.patches >= _TAKE_PATCHES) & (found.tint <= _TAKE_TINT)
    certain = (found.doubt <= _TAKE_DOUBT) & (found.repeats <= _TAKE_REPEATS)
    return alike & certain & (found.overlap >= _TAKE_OVERLAP) & (found.shear <= _TAKE_SHEAR)


@dataclass
class _Groups:
    """Makes groups of links; images are numbered by their content, of which `equal` has the files."""

    paths: Sequence[Path]
    root: Path
    equal: dict[int, list[int]]
    links: dict[GroupKind, Links]
    measured: dict[int, Measured] = field(default_factory=dict)

    def make(self, workers: int) -> Generator[GroupingStep, None, tuple[DuplicateGroup, ...]]:
        """Groups of copies, and scenes of what is kept of them and of single images."""
        copies = _components(self.links[GroupKind.COPIES], [n for n, files in self.equal.items() if len(files) > 1])
        wanted = {number for group in copies for number in group} | set(self.links[GroupKind.SCENE])
        yield from self._measure(sorted(wanted), workers)
        groups, kept = [], {}
        for group in copies:
            best = self._best(group)
            kept |= dict.fromkeys(group, best)
            groups.append(self._walk(GroupKind.COPIES, best, self.links[GroupKind.COPIES]))
        scenes: Links = defaultdict(list)
        for one, found in self.links[GroupKind.SCENE].items():
            for other, link in found:
                if kept.get(one, one) != kept.get(other, other):
                    scenes[kept.get(one, one)].append((kept.get(other, other), link))
        for group in _components(scenes):
            groups.append(self._walk(GroupKind.SCENE, self._best(group), scenes))
        return tuple(sorted(groups, key=lambda group: (group.kind, -len(group.members), group.members[0].name)))

    def _measure(self, numbers: Sequence[int], workers: int) -> Generator[GroupingStep, None, None]:
        files = [self.paths[self.equal[number][0]] for number in numbers]
        measured = zip(numbers, read_ahead(files, measure_image, workers), strict=True)
        for done, (number, (_, found)) in enumerate(measured, start=1):
            if isinstance(found, DltoolError):
                raise found
            self.measured[number] = found
            yield GroupingStep("measuring what is alike", done, len(numbers))

    def _best(self, group: Sequence[int]) -> int:
        return max(group, key=lambda number: self.measured[number].worth)

    def _walk(self, kind: GroupKind, best: int, links: Links) -> DuplicateGroup:
        """Members from the best one along links, breadth first; equal files stand beside each other."""
        members: list[Member] = []
        place: dict[int, int] = {}
        waiting: deque[tuple[int, int | None, Link]] = deque([(best, None, Link())])
        while waiting:
            number, like, link = waiting.popleft()
            if number in place:
                continue
            place[number] = len(members)
            for file in self.equal[number] if kind is GroupKind.COPIES else self.equal[number][:1]:
                name = str(self.paths[file].relative_to(self.root))
                members.append(Member(self.paths[file], name, self.measured[number], like, link))
                like, link = place[number], Link()
            for other, found in sorted(links.get(number, ()), key=lambda pair: -pair[1].similarity):
                waiting.append((other, place[number], found))
        return DuplicateGroup(kind, tuple(members))


def _components(links: Links, alone: Sequence[int] = ()) -> list[list[int]]:
    """Images that links lead between, and single ones of `alone`."""
    numbers = sorted({*links, *alone})
    place = {number: index for index, number in enumerate(numbers)}
    ends = np.array([(place[one], place[other]) for one, found in links.items() for other, _ in found], int)
    rows, columns = ends.reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows)), (rows, columns)), (len(numbers), len(numbers)))
    groups: dict[int, list[int]] = defaultdict(list)
    for number, label in zip(numbers, connected_components(graph, directed=False)[1].tolist(), strict=True):
        groups[label].append(number)
    return list(groups.values())


def measure_image(path: Path) -> Measured:
    """Decode an image in full and measure it.

    Raises:
        DataError: it cannot be read.
    """
    image = read_image(path).image
    grey = image.convert("L")
    half = grey.resize([max(1, side // 2) for side in grey.size], Image.Resampling.BOX)
    values = np.asarray(grey, np.float32)
    lost = values - np.asarray(half.resize(grey.size, Image.Resampling.BICUBIC), np.float32)
    clipped = float(((values <= 1) | (values >= 254)).mean())
    # The rims of a JPEG's blocks are edges that the image does not have.
    inner = [np.arange(side) % 8 % 7 > 0 if side > 8 else np.ones(side, bool) for side in values.shape]
    sharpness = float(lost[inner[0]][:, inner[1]].std() / max(values.std(), 1.0)) * (1 - clipped) ** 2
    digest = hashlib.blake2b(np.asarray(image).tobytes(), digest_size=16).hexdigest()
    return Measured(*image.size, sharpness, path.stat().st_size, digest)
