"""`dltool style train`, `stylize` and `export` with trained styles, as they are typed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dltool.images.read import read_image
from dltool.images.write import write_gif
from tests.cli.run import run_inside


@pytest.fixture(scope="module")
def photos(sample_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small photo in a sub-folder, one with transparency, and a broken one."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "deep").mkdir()
    pixels = read_image(sample_images / "photos" / "cat.jpg", 100).pixels
    Image.fromarray(pixels).save(folder / "deep" / "cat.png")
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:40] = 0
    Image.fromarray(np.dstack((pixels, alpha))).save(folder / "cut.png")
    (folder / "broken.jpg").write_bytes(b"nothing")
    return folder


def test_a_folder_is_painted_and_what_is_broken_is_told(photos: Path, run: Path, tmp_path: Path) -> None:
    done = run_inside("stylize", photos, "-s", run, "-o", tmp_path / "out", "--size", 64, "--json")
    document = json.loads(done.stdout)
    assert done.exit_code == 1 and document["counts"] == {"done": 2, "skipped": 0, "failed": 1}
    assert set(document["settings"]) == {"size", "strength", "preserve_color", "style_scale", "seed", "style", "mask"}
    painted = Image.open(tmp_path / "out" / "deep" / "cat.png")
    assert max(painted.size) == 64
    cut = Image.open(tmp_path / "out" / "cut.png")
    assert cut.mode == "RGBA" and np.asarray(cut)[0, 0, 3] == 0


def test_a_seed_is_told_to_the_style(photos: Path, run: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        words = ("--size", 64, "--seed", seed, "-o", tmp_path / f"{seed}.png")
        assert run_inside("stylize", photos / "deep" / "cat.png", "-s", run, *words).exit_code == 0
    assert (tmp_path / "0.png").read_bytes() != (tmp_path / "1.png").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--steps", 9), "--steps: has no effect with a trained style"),
        (("--backbone", "vgg16"), "--backbone: has no effect with a trained style"),
        (("--grid",), "--grid: has no effect with a trained style"),
        (("--gif",), "--gif: has no effect with a trained style"),
        (("--style-scale", 2), "--style-scale 2: night_swirls+sea_storm has learnt 1 alone"),
    ],
)
def test_options_of_the_optimization_are_refused(photos: Path, run: Path, tmp_path: Path, words, message: str) -> None:
    done = run_inside("stylize", photos, "-s", run, "-o", tmp_path / "out", *words)
    assert done.exit_code == 2 and message in done.stderr


def test_paintings_and_trained_styles_do_not_mix(photos: Path, run: Path, paintings, tmp_path: Path) -> None:
    done = run_inside("stylize", photos, "-s", run, "-s", paintings[0], "-o", tmp_path / "out")
    assert done.exit_code == 2 and "paintings, or trained styles (.safetensors), not both" in done.stderr


def test_a_label_mask_needs_a_region_for_each_painting(photos: Path, run: Path, tmp_path: Path) -> None:
    halves = np.zeros((40, 60, 3), np.uint8)
    halves[:, 30:] = 255
    Image.fromarray(halves).save(tmp_path / "mask.png")
    swirls, storm = (run / f"{name}.safetensors" for name in ("night_swirls", "sea_storm"))
    words = ("stylize", photos / "deep" / "cat.png", "--mask", tmp_path / "mask.png", "--size", 64)
    done = run_inside(*words, "-s", swirls, "-s", storm, "-o", tmp_path / "both.png", "--json")
    assert done.exit_code == 0 and "stretched" not in json.loads(done.stdout)["items"][0].get("note", "")
    done = run_inside(*words, "-s", run, "-s", storm, "-o", tmp_path / "three.png")
    assert done.exit_code == 2 and "a region for each painting is needed" in done.stderr


def test_an_animation_is_painted_frame_by_frame(photos: Path, run: Path, tmp_path: Path) -> None:
    pixels = read_image(photos / "deep" / "cat.png").pixels
    write_gif(tmp_path / "clip.gif", [pixels[:56, shift : shift + 80] for shift in (0, 3, 6)], 0.1)
    blend = ("-s", f"{run / 'night_swirls.safetensors'}:2", "-s", run / "sea_storm.safetensors")
    done = run_inside(
        "stylize", tmp_path / "clip.gif", *blend, "--frames", "--size", 80, "-o", tmp_path / "out.gif", "--json"
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["settings"]["style"][0]["weight"] == 2
    with Image.open(tmp_path / "out.gif") as clip:
        assert clip.n_frames == 3
        assert np.abs(np.asarray(clip.convert("RGB")).astype(int) - pixels[:56, :80]).mean() > 10


def test_training_is_planned_and_its_options_checked(paintings, sample_images: Path, tmp_path: Path) -> None:
    words = ("style", "train", *paintings, "--photos", sample_images / "photos", "-o", tmp_path / "run")
    done = run_inside(*words, "--dry-run", "--steps", 7)
    assert done.exit_code == 0 and "would train 2 style(s) for 7 steps" in done.stdout
    assert not (tmp_path / "run").exists()
    done = run_inside("style", "train", tmp_path / "none.jpg", "-o", tmp_path / "run")
    assert done.exit_code == 3 and "none.jpg" in done.stderr
    done = run_inside("style", "train", "-o", tmp_path / "run")
    assert done.exit_code == 2 and "PAINTING: at least one is needed" in done.stderr


def test_a_training_goes_on_by_resume_alone(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    done = run_inside("style", "train", "-o", tmp_path / "run", "--resume", "--json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["settings"]["paintings"]) == 2


def test_a_style_is_exported_for_images_of_any_size(run: Path, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    done = run_inside("export", run / "sea_storm.safetensors", "-o", tmp_path / "style.onnx", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["largest_difference"] < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "style.onnx")
    (painted,) = session.run(None, {"images": np.random.default_rng(0).random((2, 3, 37, 50), np.float32)})
    assert painted.shape == (2, 3, 37, 50) and 0 <= painted.min() < painted.max() <= 1


def test_a_trained_style_paints_the_start_of_an_optimization(
    photos: Path, run: Path, paintings, tmp_path: Path
) -> None:
    style = run / "sea_storm.safetensors"
    words = ("stylize", photos / "deep" / "cat.png", "-s", paintings[1], "--size", 64, "--learning-rate", 1e-9)
    still = ("--optimizer", "adam", "--scales", 1, "--steps", 2, "--margin", 0, "-o", tmp_path / "begun.png")
    assert run_inside(*words, *still, "--init", style).exit_code == 0
    run_inside("stylize", photos / "deep" / "cat.png", "-s", style, "--size", 64, "-o", tmp_path / "painted.png")
    begun, painted = (np.asarray(Image.open(tmp_path / name), int) for name in ("begun.png", "painted.png"))
    assert np.abs(begun - painted).max() <= 1
    done = run_inside(*words, "--init", style, "--grid", "-o", tmp_path / "grid.png")
    assert done.exit_code == 2 and "a trained style, do not go together" in done.stderr
