"""Recipes, controls, several styles and shares of a folder from the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.run import files_in, run_inside

QUICK = ["--size", 64, "--steps", 3, "--threads", 1]


@pytest.fixture
def cat(sample_images: Path) -> Path:
    return sample_images / "photos" / "cat.jpg"


@pytest.fixture
def styles(sample_images: Path, tmp_path: Path) -> Path:
    """A folder of two small paintings."""
    folder = tmp_path / "styles"
    folder.mkdir()
    for name in ("night_swirls", "bold_shapes"):
        Image.open(sample_images / "styles" / f"{name}.jpg").resize((80, 60)).save(folder / f"{name}.png")
    return folder


def _pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), np.float32)


def test_a_folder_of_styles_gives_every_photo_in_every_style_as_single_runs_would(
    tmp_path: Path, cat: Path, styles: Path
):
    photos = tmp_path / "in"
    (photos / "sub").mkdir(parents=True)
    for name in ("a.jpg", "sub/b.jpg"):
        shutil.copy(cat, photos / name)
    out = tmp_path / "out"
    done = run_inside("stylize", photos, "-s", styles, "-o", out, "--json", "--no-page", *QUICK)
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["done"] == 4
    names = ["a__bold_shapes.png", "a__night_swirls.png", "sub/b__bold_shapes.png", "sub/b__night_swirls.png"]
    assert sorted(files_in(out)) == names
    one = run_inside("stylize", cat, "-s", styles / "bold_shapes.png", "-o", tmp_path / "one.png", *QUICK)
    assert one.exit_code == 0
    assert np.abs(_pixels(tmp_path / "one.png") - _pixels(out / "a__bold_shapes.png")).max() < 3
    refused = run_inside("stylize", cat, "-s", styles, "-o", tmp_path / "two.png", *QUICK)
    assert refused.exit_code == 2
    assert "needs a folder" in refused.stderr
    again = run_inside("stylize", photos, "-s", styles, "-o", out, "--skip-existing", "--json", *QUICK)
    assert json.loads(again.stdout)["counts"]["skipped"] == 4


def test_a_blend_lies_between_its_paintings(tmp_path: Path, cat: Path, styles: Path):
    first, second = styles / "night_swirls.png", styles / "bold_shapes.png"
    made = {}
    for name, words in {
        "first": ["-s", first],
        "second": ["-s", second],
        "mostly": ["-s", f"{first}:9", "-s", second],
    }.items():
        result = run_inside("stylize", cat, *words, "-o", tmp_path / f"{name}.png", "--json", *QUICK)
        assert result.exit_code == 0, result.stderr
        made[name] = _pixels(tmp_path / f"{name}.png").mean((0, 1))
    assert json.loads(result.stdout)["settings"]["style"] == [
        {"style": str(first), "weight": 9.0},
        {"style": str(second), "weight": 1.0},
    ]
    near, far = (np.abs(made["mostly"] - made[name]).sum() for name in ("first", "second"))
    assert near < 0.5 * far


def test_masks_colours_and_tiles_from_the_command_line(tmp_path: Path, cat: Path, styles: Path):
    mask = np.zeros((40, 60), np.uint8)
    mask[:, 30:] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    words = ["stylize", cat, "-s", styles / "bold_shapes.png", *QUICK]
    half = run_inside(*words, "--mask", tmp_path / "mask.png", "-o", tmp_path / "half.png")
    assert half.exit_code == 0, half.stderr
    photo = np.asarray(Image.open(cat).resize((64, 43), Image.Resampling.LANCZOS), np.float32)
    difference = np.abs(_pixels(tmp_path / "half.png") - photo).mean((0, 2))
    assert difference[:26].max() <= 1
    assert difference[36:].mean() > 10
    both = [*words, "-s", styles / "night_swirls.png", "--mask", tmp_path / "mask.png"]
    assert run_inside(*both, "-o", tmp_path / "both.png", "--preserve-color", "luminance").exit_code == 0
    tight = run_inside(*words, "--max-memory", "1MB", "-o", tmp_path / "tight.png")
    assert tight.exit_code == 5
    assert "--max-memory: a picture of 64 x 43 px needs about" in tight.stderr


def test_tiles_that_a_network_sees_differently_are_told_once(
    tmp_path: Path, cat: Path, styles: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("dltool.stylize.features.tiles_agree", lambda *_: False)
    words = ["stylize", cat, "-s", styles / "bold_shapes.png", *QUICK, "--backbone", "squeezenet1_1"]
    words += ["--weights", "none", "--style-layers", "features.1,features.4", "--content-layers", "features.4"]
    whole = run_inside(*words, "--size", 400, "--steps", 1, "-o", tmp_path / "whole.png")
    assert "tiles" not in whole.stderr
    tiled = run_inside(*words, "--size", 400, "--steps", 2, "--max-memory", "60MB", "-o", tmp_path / "tiled.png")
    assert tiled.exit_code == 0, tiled.stderr
    assert tiled.stderr.count("differently than the whole picture") == 1


def test_original_keeps_every_photo_s_size(tmp_path: Path, cat: Path, styles: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    sizes = {"a": (50, 30), "b": (33, 70)}
    for name, size in sizes.items():
        Image.open(cat).resize(size).save(folder / f"{name}.png")
    words = ["stylize", folder, "-s", styles / "bold_shapes.png", "-o", tmp_path / "out", *QUICK]
    assert run_inside(*words, "--size", "original").exit_code == 0
    for name, size in sizes.items():
        assert Image.open(tmp_path / "out" / f"{name}.png").size == size


def test_time_lapse_and_images_on_the_way(tmp_path: Path, cat: Path, styles: Path):
    words = ["stylize", cat, "-s", styles / "bold_shapes.png", "-o", tmp_path / "out" / "a.png", *QUICK]
    words += ["--steps", 6, "--save-every", 2, "--gif"]
    result = run_inside(*words)
    assert result.exit_code == 0, result.stderr
    assert sorted(files_in(tmp_path / "out")) == ["a.gif", "a.png", "a_0002.png", "a_0004.png", "a_0006.png"]
    movie = Image.open(tmp_path / "out" / "a.gif")
    assert movie.n_frames >= 7
    plain = run_inside(*words[:4], "-o", tmp_path / "plain.png", *QUICK, "--steps", 6)
    assert plain.exit_code == 0
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "out" / "a.png").read_bytes(), (
        "watching changes nothing"
    )
    assert Image.open(tmp_path / "out" / "a_0006.png").size == (64, 43)
    (tmp_path / "out" / "a.png").unlink()
    refused = run_inside(*words)
    assert refused.exit_code == 2
    assert "a.gif: output exists" in refused.stderr


def test_processes_of_one_run_share_a_folder_out(
    tmp_path: Path, cat: Path, styles: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(5):
        Image.open(cat).resize((60, 40)).save(folder / f"{index}.png")
    words = ["stylize", folder, "-s", styles / "bold_shapes.png", "-o", tmp_path / "out", "--json", *QUICK]
    seen = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        result = run_inside(*words)
        assert result.exit_code == 0, result.stderr
        document = json.loads(result.stdout)
        assert (document["rank"], document["world_size"]) == (int(rank), 2)
        seen.append([Path(item["input"]).name for item in document["items"]])
    assert seen == [["0.png", "2.png", "4.png"], ["1.png", "3.png"]]
    assert len(files_in(tmp_path / "out")) == 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "0"], "--size 0: pixels of the longest side, or 'original'"),
        (["--max-memory", "much"], "--max-memory much: not an amount of memory"),
        (["--pixel-mean", "1,2"], "--pixel-mean 1,2: 3 numbers"),
        (["--pixel-mean", "1,2,nan"], "--pixel-mean 1,2,nan: 3 numbers"),
        (["--pixel-std", "1,0,1"], "--pixel-std 0: above 0 is needed"),
        (["--style-layers", "bn1:x"], "--style-layers bn1:x: 'x' is no weight"),
        (["--mask", "none.png"], "--mask none.png: no such file"),
        (["--style-scale", "0"], "--style-scale 0: a number from 0.05 to 20 is needed"),
        (["--recipe", "gatys"], "--recipe gatys: no such recipe; did you mean 'gatys-vgg19'?"),
    ],
)
def test_wrong_options_are_one_line(tmp_path: Path, cat: Path, styles: Path, words: list[str], message: str):
    result = run_inside("stylize", cat, "-s", styles / "bold_shapes.png", "-o", tmp_path / "out.png", *words)
    assert result.exit_code in (2, 3)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--hold-weight", "1"], "--hold-weight: has no effect without --frames"),
        (["--grid-layers", "bn1"], "--grid-layers: has no effect without --grid"),
        (["--frames", "--grid-ratios", "1"], "--grid-ratios: has no effect without --grid"),
        (["--optimizer", "adam", "--history", "5"], "--history: has no effect with --optimizer adam"),
        (["--grid", "--style-weight", "2"], "--style-weight: has no effect with --grid, whose ratios say it"),
        (
            ["--grid", "--grid-layers", "bn1", "--content-layers", "bn1"],
            "--content-layers: has no effect with --grid",
        ),
        (["--frames", "-j", "0"], "--workers: has no effect with --frames"),
    ],
)
def test_what_has_no_effect_is_refused_in_dry_runs_too(
    tmp_path: Path, cat: Path, styles: Path, words: list[str], message: str
):
    result = run_inside("stylize", cat, "-s", styles / "bold_shapes.png", "-o", tmp_path / "out", *words, "--dry-run")
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_has_no_effect_may_stand_in_a_recipe_or_a_file(tmp_path: Path, cat: Path, styles: Path):
    (tmp_path / "c.toml").write_text("[stylize]\nhold-weight = 7\n")
    words = ["--recipe", "gatys-vgg19", "--optimizer", "adam", "--config", tmp_path / "c.toml", "--dry-run", "--json"]
    result = run_inside("stylize", cat, "-s", styles / "bold_shapes.png", "-o", tmp_path / "out", *words)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["settings"]["history"] == 100


def test_a_grid_is_one_sheet_with_a_cell_for_each_layer_and_ratio(tmp_path: Path, cat: Path, styles: Path):
    words = ["stylize", cat, "-s", styles / "bold_shapes.png", "-o", tmp_path / "grid.png", "--grid", *QUICK]
    result = run_inside(
        *words, "--grid-layers", "blocks.1.1,blocks.3.0", "--grid-ratios", "1,10,1e2", "--json", "--steps", 15
    )
    assert result.exit_code == 0, result.stderr
    (item,) = json.loads(result.stdout)["items"]
    assert [(cell["layer"], cell["ratio"]) for cell in item["cells"]] == [
        (layer, ratio) for layer in ("blocks.1.1", "blocks.3.0") for ratio in (1, 10, 100)
    ]
    for first in (0, 3):
        losses = [cell["style_loss"] for cell in item["cells"][first : first + 3]]
        assert losses[2] < 0.9 * losses[0], "more weight, less style loss"
    width, height = Image.open(tmp_path / "grid.png").size
    assert 3 * 64 < width < 4 * 64 + 30
    assert 2 * 43 < height < 4 * 64
    settings = json.loads(result.stdout)["settings"]
    assert settings["content_layers"] == ["blocks.1.1", "blocks.3.0"]
    together = run_inside(*words, "--gif", "--overwrite")
    assert together.exit_code == 2
    assert "--grid and --gif do not go together" in together.stderr


def test_a_broken_photo_has_no_sheet_and_the_next_one_has(tmp_path: Path, cat: Path, styles: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_text("no picture")
    Image.open(cat).resize((64, 43)).save(folder / "b.png")
    words = ["-s", styles / "bold_shapes.png", "--grid", "--grid-ratios", 2, "-o", tmp_path / "out", *QUICK]
    result = run_inside("stylize", folder, *words, "--json", "--no-page")
    assert result.exit_code == 1, result.stderr
    broken, sheet = json.loads(result.stdout)["items"]
    assert (broken["status"], sheet["status"], len(sheet["cells"])) == ("failed", "done", 1)
    assert sorted(files_in(tmp_path / "out")) == ["b.png"]
    again = run_inside("stylize", folder, *words, "--skip-existing", "--json")
    assert json.loads(again.stdout)["counts"] == {"done": 0, "skipped": 1, "failed": 1}


def test_an_animation_and_a_folder_of_frames(tmp_path: Path, cat: Path, styles: Path):
    photo = Image.open(cat).resize((64, 43))
    frames = [photo.rotate(5 * index) for index in range(3)]
    frames[0].save(tmp_path / "in.gif", save_all=True, append_images=frames[1:], duration=70)
    words = ["-s", styles / "bold_shapes.png", "--frames", *QUICK]
    result = run_inside("stylize", tmp_path / "in.gif", *words, "-o", tmp_path / "out.gif")
    assert result.exit_code == 0, result.stderr
    movie = Image.open(tmp_path / "out.gif")
    assert (movie.n_frames, movie.size, movie.info["duration"]) == (3, (64, 43), 70)
    folder = tmp_path / "frames"
    folder.mkdir()
    for index, frame in enumerate(frames):
        frame.save(folder / f"{index}.png")
    assert run_inside("stylize", folder, *words, "-o", tmp_path / "out").exit_code == 0
    whole = files_in(tmp_path / "out")
    assert sorted(whole) == ["0.png", "1.png", "2.png"]
    (tmp_path / "out" / "2.png").unlink()
    again = run_inside("stylize", folder, *words, "-o", tmp_path / "out", "--skip-existing", "--json")
    assert json.loads(again.stdout)["counts"] == {"done": 1, "skipped": 2, "failed": 0}
    assert files_in(tmp_path / "out") == whole
    wrong = run_inside("stylize", tmp_path / "in.gif", *words, "-o", tmp_path / "out.jpg")
    assert wrong.exit_code == 2
    assert "an animation becomes a .gif, .png, .apng, .webp file" in wrong.stderr


def test_a_broken_painting_of_a_folder_fails_alone(tmp_path: Path, cat: Path, styles: Path):
    (styles / "broken.jpg").write_text("no picture")
    result = run_inside("stylize", cat, "-s", styles, "-o", tmp_path / "out", "--json", *QUICK)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["counts"] == {"done": 2, "skipped": 0, "failed": 1}
    assert "broken.jpg: not a picture" in result.stderr


def test_a_mask_or_a_start_of_another_shape_says_that_it_was_stretched(tmp_path: Path, cat: Path, styles: Path):
    Image.open(cat).resize((64, 43)).save(tmp_path / "photo.png")
    for name, size in (("square", (50, 50)), ("alike", (128, 85))):
        Image.linear_gradient("L").resize(size).convert("RGB").save(tmp_path / f"{name}.png")
    words = ["stylize", tmp_path / "photo.png", "-s", styles / "bold_shapes.png", *QUICK, "--overwrite"]
    for option, what in (("--mask", "mask of 50x50"), ("--init", "start image of 50x50")):
        said = run_inside(*words, option, tmp_path / "square.png", "-o", tmp_path / "a.png").stdout
        assert f"the {what} is of another shape and was stretched" in said
        assert "stretched" not in run_inside(*words, option, tmp_path / "alike.png", "-o", tmp_path / "a.png").stdout
