"""Images that show the same."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from dltool.cluster.alignment import align, place, self_similarity
from dltool.cluster.duplicate_files import describe_difference
from dltool.cluster.duplicates import DuplicateGroup, GroupKind, find_duplicates, measure_image
from dltool.cluster.likeness import ORIENTATIONS, inverse, thumbnail, turned
from dltool.cluster.settings import ClusterData
from dltool.events import finish
from dltool.training.context import RunContext
from tests.cli.run import run_inside

CONTEXT = RunContext(torch.device("cpu"), workers=0)
COPIES = {
    "half.jpg": "resized to 50%",
    "small.jpg": "jpg",
    "light.jpg": "brighter",
    "mirror.jpg": "mirrored",
    "left.jpg": "rotated 90° left",
    "part.jpg": "cropped to 64%",
    "same.bmp": "equal pixels, bmp for png",
}


def save_copies(image: Image.Image, folder: Path) -> None:
    width, height = image.size
    image.save(folder / "same.bmp")
    image.resize((width // 2, height // 2)).save(folder / "half.jpg")
    image.save(folder / "small.jpg", quality=20)
    ImageEnhance.Brightness(image).enhance(1.3).save(folder / "light.jpg")
    ImageOps.mirror(image).save(folder / "mirror.jpg")
    image.transpose(Image.Transpose.ROTATE_90).save(folder / "left.jpg")
    image.crop((width // 10, height // 8, width // 10 + width * 8 // 10, height // 8 + height * 8 // 10)).save(
        folder / "part.jpg"
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, sample_images: Path) -> Path:
    """Six photos, one of them with seven copies, another twice, a third taken again."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "deep").mkdir()
    files = sorted((sample_images / "photos").iterdir())
    images = [Image.open(file).convert("RGB") for file in files]
    for number, image in enumerate(images):
        image.thumbnail((360, 360))
        image.save(folder / f"{number}.png")
    save_copies(images[0], folder / "deep")
    (folder / "deep" / '"><img src=x onerror=alert(1)>.png').write_bytes((folder / "1.png").read_bytes())
    width, height = images[2].size
    quad = (18, 9, 14, height - 30, width - 10, height - 22, width - 14, 16)
    again = images[2].transform((300, 220), Image.Transform.QUAD, quad, Image.Resampling.BICUBIC)
    again.paste(images[3].resize((80, 80)), (200, 20))
    again.save(folder / "again.jpg")
    return folder


@pytest.fixture(scope="module")
def groups(photos: Path) -> dict[str, DuplicateGroup]:
    """What is found, by the name of the first image."""
    found = finish(find_duplicates(ClusterData(str(photos)), CONTEXT))
    assert found.count == 15
    return {group.members[0].name: group for group in found.groups}


def test_copies_are_found_told_and_the_best_is_kept(groups: dict[str, DuplicateGroup]) -> None:
    group = groups["0.png"]
    assert group.kind is GroupKind.COPIES and len(group.members) == 8
    told = {Path(m.name).name: describe_difference(m, group.members[m.like]) for m in group.members[1:]}
    assert set(told) == set(COPIES)
    for name, words in COPIES.items():
        share = {"part.jpg": ("cropped to 62%", "cropped to 63%", "cropped to 65%", "cropped to 66%")}.get(name, ())
        assert told[name].startswith((words, *share)), (name, told[name])


def test_equal_files_and_takes_are_groups_and_nothing_else_is(groups: dict[str, DuplicateGroup]) -> None:
    assert len(groups) == 3
    equal = next(group for group in groups.values() if len(group.members) == 2 and group.kind is GroupKind.COPIES)
    assert {Path(member.name).suffix for member in equal.members} == {".png"} and equal.members[1].link.similarity == 1
    scene = next(group for group in groups.values() if group.kind is GroupKind.SCENE)
    assert {member.name for member in scene.members} == {"2.png", "again.jpg"}
    assert 0.5 < scene.members[1].link.similarity < 0.99


def test_parts_of_a_pattern_are_not_each_other(sample_images: Path, tmp_path: Path) -> None:
    """Bricks of one wall, and pieces of a woven cloth; of one each there is a smaller copy, and a part of gravel."""
    random = np.random.default_rng(0)
    bricks = [Image.open(file) for file in sorted((sample_images / "textures" / "brick").iterdir())[:12]]
    down, right = np.mgrid[0:256, 0:256] * np.pi / 6
    for number, image in enumerate(bricks):
        image.save(tmp_path / f"brick{number}.png")
        start = random.uniform(0, 6, 2)
        cloth = 128 + 40 * np.sin(right + start[0]) + 40 * np.sin(down + start[1]) + random.normal(0, 9, right.shape)
        Image.fromarray(cloth.clip(0, 255).astype(np.uint8)).save(tmp_path / f"cloth{number}.png")
    bricks[0].resize((60, 60)).save(tmp_path / "brick0-small.png")
    gravel = Image.open(sorted((sample_images / "textures" / "gravel").iterdir())[0])
    gravel.save(tmp_path / "gravel.png")
    gravel.crop((4, 8, 76, 80)).save(tmp_path / "gravel-part.png")
    Image.open(tmp_path / "cloth2.png").resize((200, 200)).save(tmp_path / "cloth2-small.png")
    found = finish(find_duplicates(ClusterData(str(tmp_path)), CONTEXT)).groups
    assert sorted(sorted(member.path.stem for member in group.members) for group in found) == [
        ["brick0", "brick0-small"],
        ["cloth2", "cloth2-small"],
        ["gravel", "gravel-part"],
    ]


@pytest.mark.parametrize("roughly", [-1.0, 2.0], ids=["each pair looked at", "none fits roughly"])
def test_images_with_nothing_in_them(tmp_path: Path, roughly: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dltool.cluster.duplicates._ROUGHLY", roughly)
    for number in range(24):
        Image.new("RGB", (90, 60), (5 * number + 120 * (number % 2),) * 3).save(tmp_path / f"{number}.png")
    found = finish(find_duplicates(ClusterData(source=str(tmp_path)), CONTEXT))
    assert found.count == 24


def test_what_repeats_itself_is_told() -> None:
    """A wave of period 16 is itself again at a shift of one period, noise nowhere, at any brightness and contrast."""
    wave = torch.sin(torch.arange(64.0) * torch.pi / 8)[:, None].expand(64, 64)
    noise = torch.rand(64, 64, generator=torch.Generator().manual_seed(0))
    repeats = self_similarity(torch.stack([wave, 90 * wave + 7, noise])[:, None])
    assert repeats[0] > 0.95 and repeats[1] == pytest.approx(float(repeats[0]), abs=1e-3) and repeats[2] < 0.3


def test_turning_back_gives_the_image_again() -> None:
    image = torch.arange(2.0 * 4 * 4).view(2, 4, 4)
    seen = {tuple(turned(image, orientation).flatten().tolist()) for orientation in range(ORIENTATIONS)}
    assert len(seen) == ORIENTATIONS
    for orientation in range(ORIENTATIONS):
        assert torch.equal(turned(turned(image, orientation), inverse(orientation)), image)


def test_alignment_finds_the_place_of_a_part(sample_images: Path) -> None:
    pixels = np.asarray(Image.open(sample_images / "photos" / "china.jpg").convert("RGB").resize((320, 320)))
    arrays = (thumbnail(array) for array in (pixels, pixels[32:272, 48:288]))
    whole, part = (torch.from_numpy(array).permute(2, 0, 1)[None].float() for array in arrays)
    found = align(whole, part, place(whole, part, torch.tensor([[0.8, 0.0, 0.0]]))[0])
    wanted = torch.tensor([[0.75, 0.0, 2 * 168 / 320 - 1], [0.0, 0.75, 2 * 152 / 320 - 1]])
    assert torch.allclose(found.matrix[0], wanted, atol=0.03)
    assert found.correlation > 0.95 and found.patches > 0.9 and found.area == pytest.approx(0.5625, abs=0.03)


def test_an_enlarged_image_is_worth_less_than_its_original(photos: Path, tmp_path: Path) -> None:
    image = Image.open(photos / "0.png")
    image.resize((4 * image.width, 4 * image.height), Image.Resampling.BICUBIC).save(tmp_path / "large.png")
    assert measure_image(tmp_path / "large.png").worth < measure_image(photos / "0.png").worth
    assert measure_image(photos / "deep" / "half.jpg").worth < measure_image(photos / "0.png").worth


def test_the_command_writes_a_table_pairs_folders_and_a_page(photos: Path, tmp_path: Path) -> None:
    (photos / "broken.jpg").write_bytes((photos / "again.jpg").read_bytes()[:900])
    words = ["cluster", photos, "--duplicates", "-o", tmp_path / "out", "--sort", "link"]
    planned = run_inside(*words, "--dry-run")
    assert planned.exit_code == 0 and "sorted/group-1/0.png" in planned.stdout and not (tmp_path / "out").exists()
    done = run_inside(*words, "--json")
    (photos / "broken.jpg").unlink()
    assert done.exit_code == 1, done.output  # for the broken one
    document = json.loads(done.stdout)
    assert document["copies"] == 8 and [len(group["images"]) for group in document["groups"]] == [8, 2, 2]
    with (tmp_path / "out" / "duplicates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["keep"] for row in rows].count("yes") == 3 and len(rows) == 12
    for row in rows:
        link = tmp_path / "out" / "sorted" / f"group-{row['group']}" / row["file"]
        assert link.is_symlink() and link.resolve() == (photos / row["file"]).resolve()
    assert {"duplicates.jpg", "duplicates.json", "index.html"} <= {path.name for path in (tmp_path / "out").iterdir()}
    again = run_inside(*words, "--overwrite", "-q")
    assert again.exit_code == 0, again.output
    assert run_inside(*words, "--skip-existing").exit_code == 0


def test_what_has_no_effect_beside_it_is_refused(photos: Path, tmp_path: Path) -> None:
    for more, told in ((("-k", 3), "-k: has no effect with --duplicates"), (("--device", "cpu"), "--device: has no")):
        refused = run_inside("cluster", photos, "--duplicates", "-o", tmp_path / "out", *more)
        assert refused.exit_code == 2 and told in refused.stderr
    refused = run_inside("cluster", "blobs", "--duplicates", "-o", tmp_path / "out")
    assert refused.exit_code == 2 and "needs a folder of images" in refused.stderr
