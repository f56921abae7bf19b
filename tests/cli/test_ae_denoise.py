"""`dltool ae denoise` from its command line: files in, files of the same size and depth out."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dltool.images.deep import read_deep_image
from dltool.images.write import write_image
from tests.cli.run import files_in, run_inside
from tests.denoise.denoisers import noisy_pixels, photo_pixels, save_smoother


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_smoother(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="module")
def clean(sample_images: Path) -> np.ndarray:
    return photo_pixels(sample_images)


@pytest.fixture
def noisy(tmp_path: Path, clean: np.ndarray) -> Path:
    write_image(tmp_path / "noisy.png", noisy_pixels(clean, 30))
    return tmp_path / "noisy.png"


def test_one_photo_its_figures_and_the_page_of_before_and_after(
    tmp_path: Path, noisy: Path, clean: np.ndarray, model: Path
):
    write_image(tmp_path / "clean.png", clean)
    words = ["--model", model, "--reference", tmp_path / "clean.png", "--compare", "--json", "--threads", 1]
    done = run_inside("ae", "denoise", noisy, "-o", tmp_path / "out.png", *words)
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["command"] == "ae denoise"
    assert document["settings"]["strength"] == 1.0
    assert document["counts"] == {"done": 1, "skipped": 0, "failed": 0}
    (item,) = document["items"]
    assert (item["size"], item["bits"], item["dither"], item["status"]) == ([96, 96], 8, 0, "done")
    assert item["noise"]["sigma"] == pytest.approx(30, rel=0.15)
    assert item["psnr"]["after"] > item["psnr"]["before"] + 5
    assert item["ssim"]["after"] > item["ssim"]["before"] + 0.1
    assert Image.open(tmp_path / "out.png").mode == "RGB"
    page = Image.open(tmp_path / "out__compare.png")
    assert page.width > 2 * 600
    shown = run_inside("ae", "denoise", noisy, "-o", tmp_path / "again.png", *words[:4])
    assert f"noise level {item['noise']['sigma']:.1f}" in shown.stdout
    assert f"-> {item['psnr']['after']:.2f} dB" in shown.stdout
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "out.png").read_bytes()


def test_a_mixed_folder_keeps_what_each_image_is_and_names_each_bad_one(tmp_path: Path, clean: np.ndarray, model: Path):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    photo = Image.fromarray(clean)
    photo.save(folder / "photo.jpg")
    photo.save(folder / "sub" / "photo.jpg")
    photo.convert("L").save(folder / "grey.png")
    photo.convert("CMYK").save(folder / "print.jpg")
    alpha = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (96, 1))
    Image.fromarray(np.dstack([clean, alpha])).save(folder / "clear.png")
    words16 = clean.astype(np.uint16) * 257 + 100
    write_image(folder / "deep.png", words16)
    write_image(folder / "deepclear.png", words16, alpha.astype(np.uint16) * 257)
    Image.fromarray(words16[..., 0]).save(folder / "deepgrey.png")
    Image.fromarray(words16[..., 0]).save(folder / "deepgrey2.tif")
    Image.new("RGB", (1, 1), (9, 80, 200)).save(folder / "dot.png")
    Image.fromarray(np.tile(clean[:5, :80], (1, 50, 1))).save(folder / "strip.png")
    data = (folder / "photo.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(data[: len(data) // 2])
    (folder / "text.jpg").write_text("hello")
    result = run_inside("ae", "denoise", folder, "-o", tmp_path / "out", "--model", model, "--json", "--tile", 128)
    assert result.exit_code == 1, result.stderr
    document = json.loads(result.stdout)
    assert document["counts"] == {"done": 11, "skipped": 0, "failed": 2}
    failed = {Path(item["input"]).name: item["error"] for item in document["items"] if item["status"] == "failed"}
    assert "truncated" in failed["half.jpg"]
    assert "not a picture" in failed["text.jpg"]
    assert "text.jpg" in result.stderr
    bits = {Path(item["input"]).name: item["bits"] for item in document["items"] if item["status"] == "done"}
    assert {name for name, count in bits.items() if count == 16} == {
        "deep.png", "deepclear.png", "deepgrey.png", "deepgrey2.tif"
    }  # fmt: skip

    out = tmp_path / "out"
    modes = {name: Image.open(out / name).mode for name in files_in(out)}
    assert modes["photo.png"] == modes["print.png"] == modes["sub/photo.png"] == "RGB"
    assert (modes["grey.png"], modes["clear.png"]) == ("L", "RGBA")
    np.testing.assert_array_equal(np.asarray(Image.open(out / "clear.png"))[..., 3], alpha)
    assert Image.open(out / "dot.png").size == (1, 1)
    assert Image.open(out / "strip.png").size == (4000, 5)
    for name, original in (("deep.png", words16), ("deepclear.png", words16), ("deepgrey.png", words16[..., :1])):
        image = read_deep_image(out / name)
        assert image.pixels.dtype == np.uint16, name
        visible = np.s_[:, 1:] if image.alpha is not None else np.s_[:]
        difference = np.abs(image.pixels[visible].astype(int) - original[visible])
        assert difference.mean() < 10 * 257, name
        assert len(np.unique(image.pixels)) > 256, name
    assert (read_deep_image(out / "deepclear.png").alpha == alpha.astype(np.uint16) * 257).all()


def test_strength_zero_gives_every_pixel_back(tmp_path: Path, clean: np.ndarray, model: Path):
    alpha = np.full((96, 96), 77, np.uint8)
    write_image(tmp_path / "a.png", clean, alpha)
    run_inside("ae", "denoise", tmp_path / "a.png", "-o", tmp_path / "b.png", "--model", model, "--strength", 0)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), np.dstack([clean, alpha]))


def test_outputs_that_exist_and_dry_runs(tmp_path: Path, noisy: Path, model: Path):
    words = ["ae", "denoise", noisy, "-o", tmp_path / "out.png", "--model", model]
    planned = run_inside(*words, "--dry-run", "--json")
    assert json.loads(planned.stdout)["items"][0]["status"] == "planned"
    assert not (tmp_path / "out.png").exists()
    assert run_inside(*words, "--strength", 0.5).exit_code == 0
    first = (tmp_path / "out.png").read_bytes()
    again = run_inside(*words)
    assert (again.exit_code, "output exists" in again.stderr) == (2, True)
    skipped = run_inside(*words, "--skip-existing", "--json")
    assert json.loads(skipped.stdout)["counts"]["skipped"] == 1
    assert (tmp_path / "out.png").read_bytes() == first
    assert run_inside(*words, "--overwrite").exit_code == 0
    assert (tmp_path / "out.png").read_bytes() != first
    (tmp_path / "new__compare.png").write_bytes(b"mine")
    kept = run_inside(*words[:4], tmp_path / "new.png", *words[5:], "--compare")
    assert (kept.exit_code, "new__compare.png: output exists" in kept.stderr) == (2, True)


def test_processes_of_torchrun_share_the_images(
    tmp_path: Path, clean: np.ndarray, model: Path, monkeypatch: pytest.MonkeyPatch
):
    for index in range(3):
        write_image(tmp_path / "in" / f"{index}.png", clean)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, expected in ((1, ["1.png"]), (0, ["0.png", "1.png", "2.png"])):
        monkeypatch.setenv("RANK", str(rank))
        words = ["ae", "denoise", tmp_path / "in", "-o", tmp_path / "out", "--model", model]
        assert run_inside(*words).exit_code == 0
        assert sorted(files_in(tmp_path / "out")) == expected


def test_references_are_found_by_name_and_wrong_ones_named(tmp_path: Path, clean: np.ndarray, noisy: Path, model: Path):
    words = ["ae", "denoise", noisy, "-o", tmp_path / "out.png", "--model", model, "--overwrite", "--json"]
    write_image(tmp_path / "clean" / "noisy.tif", clean)
    found = run_inside(*words, "--reference", tmp_path / "clean")
    assert json.loads(found.stdout)["items"][0]["psnr"]["after"] > 24
    write_image(tmp_path / "small.png", clean[:50])
    wrong = run_inside(*words, "--reference", tmp_path / "small.png")
    assert (wrong.exit_code, "96 x 96 pixels, but the reference" in wrong.stderr) == (3, True)
    write_image(tmp_path / "other" / "a.png", clean)
    absent = run_inside(*words, "--reference", tmp_path / "other")
    assert (absent.exit_code, "no pictures called noisy" in absent.stderr) == (3, True)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--sigma", 300], 2, "--sigma"),
        (["--tile", 10], 2, "--tile"),
        (["--method", "self", "--model", "x"], 2, "--model: has no effect with --method self"),
        (["--steps", 5], 2, "--steps: has no effect with --method network"),
        (["--model", "missing.safetensors"], 4, "no such file"),
        (["--reference", "missing.png"], 3, "no such file"),
        (["--device", "cuda:77"], 5, "not on this machine"),
    ],
)
def test_wrong_words_get_one_line_and_their_exit_code(
    tmp_path: Path, noisy: Path, model: Path, words: list[object], code: int, message: str
):
    model_words = [] if {"--model", "--method"} & set(words) else ["--model", model]
    result = run_inside("ae", "denoise", noisy, "-o", tmp_path / "out.png", *model_words, *words)
    assert (result.exit_code, message in result.stderr) == (code, True), result.stderr
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--time", "5s"], "--time: has no effect with --method network"),
        (["--method", "self", "--dither", "off"], "--dither: has no effect with --method self"),
        (["--method", "self", "--precision", "fp32"], "--precision: has no effect with --method self"),
    ],
)
def test_what_has_no_effect_is_refused_in_dry_runs_too(tmp_path: Path, noisy: Path, words: list[object], message: str):
    result = run_inside("ae", "denoise", noisy, "-o", tmp_path / "out.png", *words, "--dry-run")
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr


def test_the_configuration_file_is_no_output(tmp_path: Path, noisy: Path):
    (tmp_path / "out.png").write_text("[ae.denoise]\nstrength = 0.5\n")
    words = ["ae", "denoise", noisy, "-o", tmp_path / "out.png", "--config", tmp_path / "out.png", "--overwrite"]
    result = run_inside(*words)
    assert (result.exit_code, "would overwrite an input" in result.stderr) == (2, True), result.stderr


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_to_is_named_before_any_work(tmp_path: Path, noisy: Path, model: Path):
    (tmp_path / "shut").mkdir(mode=0o500)
    result = run_inside("ae", "denoise", noisy, "-o", tmp_path / "shut" / "out.png", "--model", model)
    assert (result.exit_code, "cannot be written to" in result.stderr) == (2, True)


def test_a_image_that_its_kind_of_file_cannot_hold_fails_alone(tmp_path: Path, clean: np.ndarray, model: Path):
    write_image(tmp_path / "long.png", np.zeros((1, 16400, 3), np.uint8))
    result = run_inside("ae", "denoise", tmp_path / "long.png", "-o", tmp_path / "out.webp", "--model", model)
    assert (result.exit_code, "16400 x 1 pixels cannot be written as WEBP" in result.stderr) == (1, True), result.stderr


def test_method_self_needs_no_model_and_repeats_itself(tmp_path: Path, noisy: Path):
    words = ["ae", "denoise", noisy, "--method", "self", "--steps", 3, "--threads", 1]
    for name in ("a.png", "b.png"):
        assert run_inside(*words, "-o", tmp_path / name).exit_code == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert run_inside(*words, "-o", tmp_path / "c.png", "--seed", 1).exit_code == 0
    assert (tmp_path / "c.png").read_bytes() != (tmp_path / "a.png").read_bytes()
    assert run_inside(*words, "-o", tmp_path / "d.png", "--time", "20s").exit_code == 0


def test_noise_that_is_left_is_said_unless_it_was_asked_to_stay(tmp_path: Path, noisy: Path, clean: np.ndarray):
    left = save_smoother(tmp_path / "left.safetensors", share=0.1)
    words = ["ae", "denoise", noisy, "-o", tmp_path / "out.png", "--model", left, "--dither", "off", "--json"]
    item = json.loads(run_inside(*words).stdout)["items"][0]
    assert "noise is left in" in item["note"] and item["noise_left"] > 0.6 * item["noise_level"] > 15
    item = json.loads(run_inside(*words, "--strength", 0.2, "--overwrite").stdout)["items"][0]
    assert "noise is left in" not in item["note"]


def test_dither_is_refused_where_the_network_needs_none(tmp_path: Path, noisy: Path):
    done = run_inside("ae", "denoise", noisy, "-o", tmp_path / "out.png", "--dither", "off")
    assert done.exit_code == 2 and "--dither: has no effect with a network that was taught" in done.stderr
    assert not (tmp_path / "out.png").exists()
