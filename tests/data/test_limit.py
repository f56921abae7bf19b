"""`--limit`: as many of every class, spread over them, and the same images whatever the command does with them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dltool.backbones.preprocessing import Preprocessing
from dltool.data.findings import Findings
from dltool.data.folders import class_folders, read_unlabelled
from dltool.data.limit import choose_evenly, hold_back
from dltool.data.load import list_data, load_data
from dltool.data.pixels import PixelReader
from dltool.data.settings import DataSettings
from dltool.data.splits import ArraySplit
from dltool.data.store import ContentStore
from dltool.errors import DataError, SettingsError
from dltool.events import finish
from dltool.images import read
from tests.cli.run import run_inside


def test_classes_have_equal_shares_and_leave_what_they_lack_to_the_others() -> None:
    labels = np.repeat([0, 1, 2], [100, 3, 40])
    assert np.bincount(labels[choose_evenly(labels, 30)]).tolist() == [14, 3, 13]
    assert np.bincount(labels[choose_evenly(labels, 7)]).tolist() == [3, 2, 2]
    assert np.bincount(labels[choose_evenly(labels[::-1].copy(), 7)][::-1]).sum() == 7
    for limit in (0, 143, 999):
        assert choose_evenly(labels, limit).tolist() == list(range(143))


def test_a_choice_is_spread_over_the_class_and_part_of_every_larger_one() -> None:
    labels = np.zeros(1000, int)
    for limit in (10, 33, 100):
        chosen = choose_evenly(labels, limit)
        assert (np.diff(chosen) > 0).all() and len(chosen) == limit
        gaps = np.diff([*chosen, 1000])
        assert gaps.max() < 3 * 1000 / limit and len(set(gaps.tolist())) <= 4  # the three-distance theorem, and the end
        assert set(chosen) <= set(choose_evenly(labels, 2 * limit))
        for period in (2, 3, 10):
            assert np.ptp(np.bincount(chosen % period, minlength=period)) <= max(3, limit // period)


def test_later_parts_fill_up_what_the_first_lacks() -> None:
    labels = np.tile([0, 1], 20)
    parts = np.repeat([0, 1], 20)
    assert set(parts[choose_evenly(labels, 20, parts)]) == {0}
    assert np.bincount(parts[choose_evenly(labels, 26, parts)]).tolist() == [20, 6]
    alone = choose_evenly(labels[:20], 8)
    assert choose_evenly(labels, 8, parts).tolist() == alone.tolist()


def test_what_is_held_back_leaves_training_the_same_samples() -> None:
    split = ArraySplit(np.zeros((143, 2, 2), np.uint8), np.repeat([0, 1, 2], [100, 3, 40]), "set")
    divided = hold_back(split, {"test": 0.1, "val": 0.2}, 30)
    counts = {name: np.bincount(part.labels).tolist() for name, part in divided.items()}
    assert counts == {"train": [15, 1, 14], "test": [10, 1, 4], "val": [20, 1, 8]}
    few = split.take(choose_evenly(split.labels, 6))
    assert hold_back(split, {"val": 0.2}, 6)["train"].numbers.tolist() == few.numbers.tolist()
    numbers = [set(part.numbers.tolist()) for part in divided.values()]
    assert len(set.union(*numbers)) == sum(map(len, numbers))


def test_equal_contents_are_never_on_both_sides_of_a_limit(tmp_path: Path) -> None:
    for name, shade in (("a", 10), ("b", 200)):
        (tmp_path / name).mkdir()
        for number in range(20):
            color = (shade, number // 2, 0)  # two copies of each
            Image.new("RGB", (8, 8), color).save(tmp_path / name / f"{number}.png")
    reader = PixelReader(Preprocessing(resize=8, crop=8))
    data = DataSettings(str(tmp_path), limit=16, val=0.5)
    splits = finish(load_data(data, ContentStore(None), reader.read_file, 0)).dataset.splits
    assert len(splits["train"]) == 16 and not set(splits["train"].hashes) & set(splits["val"].hashes)


@pytest.fixture
def insects(tmp_path: Path) -> Path:
    """Ants and bees, more of the one than of the other, in train/ and val/."""
    random = np.random.default_rng(0)
    for split, counts in (("train", (13, 21)), ("val", (6, 7))):
        for name, count in zip(("ants", "bees"), counts, strict=True):
            folder = tmp_path / "insects" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (12, 15, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "insects"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that is decoded, as often as it is."""
    files: list[Path] = []
    original = read._decode

    def remember(image: Image.Image, *arguments: object) -> object:
        files.append(Path(image.filename))
        return original(image, *arguments)

    monkeypatch.setattr(read, "_decode", remember)
    return files


COMMANDS: dict[str, Callable[[Path, Path], tuple[object, ...]]] = {
    "finetune": lambda data, out: ("finetune", data, "-o", out),
    "ae train": lambda data, out: ("ae", "train", data, "-o", out),
    "gan train": lambda data, out: ("gan", "train", data, "-o", out),
    "cluster": lambda data, out: ("cluster", data, "-o", out, "--no-cache"),
}


@pytest.mark.parametrize("folder", ["train", "."])
def test_every_command_takes_the_same_images(folder: str, insects: Path, decoded: list[Path], tmp_path: Path) -> None:
    taken = {}
    for name, words in COMMANDS.items():
        decoded.clear()
        result = run_inside(*words(insects / folder, tmp_path / "out"), "--limit", 10, "--dry-run", "--workers", 0)
        assert result.exit_code == 0, result.stderr
        assert len(set(decoded)) == len(decoded) <= 20
        taken[name] = decoded[:10]  # of train; what is held out follows
        assert len(decoded) == 10 or name in ("finetune", "ae train")
    assert len({tuple(files) for files in taken.values()}) == 1
    assert [path.parent.name for path in taken["cluster"]] == 5 * ["ants"] + 5 * ["bees"]


def names_of(root: Path, **settings: object) -> dict[str, list[str]]:
    """Where the images of each split lie, from `root`."""
    data = DataSettings(str(root), complete=False, labelled=False, **settings)
    splits = list_data(data).dataset.splits
    return {name: [str(path.relative_to(root)) for path in split.paths] for name, split in splits.items()}


def touch(root: Path, *names: str) -> Path:
    """Empty files, which listing does not look into."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize(
    ("paths", "classes", "splits"),
    [
        (["cat/1.jpg", "dog/2.jpg"], ("cat", "dog"), {"train": [0, 1]}),
        (["train/cat/1.jpg", "test/dog/2.jpg"], ("cat", "dog"), {"train": [0], "test": [1]}),
        (["test/cat/1.jpg", "test/dog/2.jpg"], ("cat", "dog"), {"test": [0, 1]}),
        (["train/1.jpg", "station/2.jpg"], ("station", "train"), {"train": [1, 0]}),
        (["train/1.jpg", "valid/2.jpg"], (), {"train": [0], "val": [1]}),
        (["train/a/1.jpg", "train/b/2.jpg", "extra/3.jpg"], ("a", "b"), {"train": [0, 1]}),
        (["1.jpg", "test/2.jpg"], (), {"train": [0, 1]}),
        (["a/b/1.jpg", "a/c/2.jpg"], ("b", "c"), {"train": [0, 1]}),
        (["cat/train/1.jpg", "cat/test/2.jpg", "dog/train/3.jpg"], ("cat", "dog"), {"train": [0, 2], "test": [1]}),
        (
            ["animals/cat/1.jpg", "animals/dog/2.jpg", "bees/3.jpg"],
            ("animals/cat", "animals/dog", "bees"),
            {"train": [0, 1, 2]},
        ),
        (["1.jpg", "2.jpg"], (), {"train": [0, 1]}),
        (["1.jpg", "cat/2.jpg", "dog/3.jpg"], (), {"train": [0, 1, 2]}),
    ],
)
def test_classes_and_splits_of_images_whose_classes_need_not_be_known(
    paths: list[str], classes: tuple[str, ...], splits: dict[str, list[int]], tmp_path: Path
) -> None:
    findings = Findings()
    dataset = read_unlabelled(touch(tmp_path, *paths), findings)
    assert dataset.class_names == (classes or (tmp_path.name,))
    assert names_of(tmp_path) == {name: [paths[index] for index in indices] for name, indices in splits.items()}
    assert names_of(tmp_path, joined=True) == {"train": [path for path in sorted(paths) if "extra" not in path]}
    if "1.jpg" in paths and len(paths) > 2:
        assert any("1 pictures lie in no class folder" in note for note in findings.notes)
    if "extra/3.jpg" in paths:
        assert any("extra: beside train/, so not used" in note for note in findings.notes)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["cat/1.jpg", "dog/2.jpg"], ("cat", "dog")),
        (["b/1.jpg", "a/x/2.jpg", "b/3.jpg"], ("a", "b")),
        (["train/1.jpg", "station/2.jpg"], ("station", "train")),
        (["a/b/1.jpg", "a/c/2.jpg"], ()),
        (["1.jpg", "2.jpg"], ()),
        (["1.jpg", "cat/2.jpg", "dog/3.jpg"], ()),
    ],
)
def test_classes_are_the_first_folders(paths: list[str], names: tuple[str, ...]) -> None:
    found, labels, notes = class_folders([Path(path) for path in paths])
    assert found == names
    assert (labels is None) == (not names)
    assert bool(notes) == ("1.jpg" in paths and "cat/2.jpg" in paths)


def test_a_limit_is_even_over_nested_classes_in_every_command(tmp_path: Path) -> None:
    names = [f"{folder}/{number}.jpg" for folder in ("animals/cat", "animals/dog", "bees") for number in range(9)]
    touch(tmp_path, *names)
    settings = {"limit": 6, "complete": False}
    listed = [list_data(DataSettings(str(tmp_path), labelled=known, **settings)).dataset for known in (True, False)]
    assert listed[0].splits["train"].paths == listed[1].splits["train"].paths
    assert listed[0].counts("train").tolist() == [2, 2, 2]


def test_an_output_inside_the_data_is_no_data(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg", "run/samples/3.jpg")
    settings = DataSettings(str(tmp_path), complete=False, labelled=False)
    assert list_data(settings, exclude=tmp_path / "run").dataset.class_names == ("a", "b")
    assert list_data(DataSettings(str(tmp_path)), exclude=tmp_path / "run").dataset.class_names == ("a", "b")
    with pytest.raises(SettingsError, match="is the input folder itself"):
        list_data(settings, exclude=tmp_path)
    touch(tmp_path / "twice", "val/1.jpg", "valid/2.jpg")
    with pytest.raises(DataError, match="val and valid are both the val split"):
        list_data(DataSettings(str(tmp_path / "twice"), labelled=False))
