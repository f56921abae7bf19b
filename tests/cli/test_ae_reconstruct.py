"""`dltool ae reconstruct` as a user types it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from dltool.autoencoder.autoencoder_file import load_autoencoder
from dltool.images.read import read_frames, read_image
from tests.cli.run import run_inside
from tests.cli.test_finetune import refused

PLACE = ("--workers", 0, "--device", "cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    words = ("--arch", "stacked", "--latent-dim", 5, "--epochs", 10, *PLACE, "-q")
    assert run_inside("ae", "train", "digits", "-o", run, *words).exit_code == 0
    return run


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five digits as grey PNG files and a broken one."""
    folder = tmp_path_factory.mktemp("digits")
    for index, image in enumerate(load_digits().images[:5]):
        Image.fromarray(np.rint(image * (255 / 16)).astype(np.uint8)).save(folder / f"{index}.png")
    (folder / "9.png").write_text("no picture")
    return folder


def test_sheet_errors_codes_and_gif(model: Path, digits: Path, tmp_path: Path) -> None:
    outputs = ("-o", tmp_path / "out", "--csv", tmp_path / "errors.csv", "--latents", tmp_path / "codes.npy")
    between = ("--interpolate", digits / "0.png", digits / "1.png", "--frames", 6)
    result = run_inside("ae", "reconstruct", model, digits, *outputs, *between, *PLACE, "--json")
    assert result.exit_code == 1, result.output  # one file of several is no image
    document = json.loads(result.stdout)
    assert document["counts"] == {"done": 5, "skipped": 0, "failed": 1}
    assert "9.png" in document["items"][5]["error"]

    pixels = torch.from_numpy(np.rint(load_digits().images[:5] * (255 / 16))).float().unsqueeze(1) / 255
    module = load_autoencoder(model).module
    errors = (module(pixels) - pixels).square().mean((1, 2, 3)).tolist()
    assert [item["mse"] for item in document["items"][:5]] == pytest.approx(errors, rel=1e-4)
    assert [item["psnr"] for item in document["items"][:5]] == pytest.approx(
        (-10 * np.log10(errors)).tolist(), rel=1e-4
    )
    assert document["mean"]["mse"] == pytest.approx(sum(errors) / 5, rel=1e-4)
    assert np.allclose(np.load(tmp_path / "codes.npy"), module.encode(pixels).numpy(), atol=1e-4)

    rows = list(csv.DictReader((tmp_path / "errors.csv").read_text().splitlines()))
    assert [row["status"] for row in rows] == ["done"] * 5 + ["failed"]
    assert [float(row["mse"]) for row in rows[:5]] == pytest.approx(errors, abs=1e-5)
    assert read_image(tmp_path / "out" / "reconstructions.png").size[0] > 700

    frames, _ = read_frames(tmp_path / "out" / "interpolation.gif")
    assert len(frames) == 10  # six there, four back
    for frame, end in ((0, 0), (5, 1)):
        shown = frames[frame].reshape(8, 16, 8, 16, 3)[:, 0, :, 0, 0].astype(float)
        assert np.abs(shown - 255 * module(pixels[end : end + 1])[0, 0].numpy()).max() < 4


def test_colour_photos_become_what_the_model_takes(model: Path, sample_images: Path, tmp_path: Path) -> None:
    photo = sample_images / "photos" / "cat.jpg"
    result = run_inside("ae", "reconstruct", model, photo, "-o", tmp_path / "sheet.png", "--noise", "mask:0.5", *PLACE)
    assert result.exit_code == 0, result.output
    assert "cat.jpg: mse" in result.stdout
    width, height = read_image(tmp_path / "sheet.png").size
    assert width > 2.5 * height / 1.3  # original, with noise, reconstruction


def test_misuse_is_refused(model: Path, digits: Path, tmp_path: Path) -> None:
    reconstruct = ("ae", "reconstruct")
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(b"old")
    refused(run_inside(*reconstruct, model, digits, "-o", sheet, *PLACE), 2, "--overwrite")
    refused(run_inside(*reconstruct, digits / "0.png", digits, "-o", tmp_path / "new.png", *PLACE), 4, "0.png")
    refused(run_inside(*reconstruct, model, tmp_path / "none", "-o", tmp_path / "new.png", *PLACE), 3, "no such file")
    latents = ("--latents", tmp_path / "codes.csv")
    refused(run_inside(*reconstruct, model, digits, "-o", tmp_path / "new.png", *latents), 2, ".npy")
    assert sheet.read_bytes() == b"old"
    for dry in ((), ("--dry-run",)):
        new = (model, digits, "-o", tmp_path / "new.png", *dry)
        refused(run_inside(*reconstruct, *new, "--frames", 9), 2, "--frames", "without --interpolate")
        refused(run_inside(*reconstruct, *new, "--data-root", tmp_path), 2, "--data-root", "sets by name")
        refused(run_inside(*reconstruct, *new, "--noise", "fog"), 2, "--noise fog")
    dry = run_inside(*reconstruct, model, digits, "-o", tmp_path / "dry", "--dry-run")
    assert dry.exit_code == 0 and "0.png (planned)" in dry.stdout and not (tmp_path / "dry").exists()


def test_a_network_without_a_code_has_no_latents(digits: Path, tmp_path: Path) -> None:
    words = ("--arch", "unet", "--channels", 4, "--noise", "gaussian:0.1", "--epochs", 1, *PLACE, "-q")
    trained = run_inside("ae", "train", digits, "-o", tmp_path / "run", *words)
    assert trained.exit_code == 1 and (tmp_path / "run" / "model.safetensors").is_file()  # one file is none
    result = run_inside("ae", "reconstruct", tmp_path / "run", digits / "0.png", "-o", tmp_path / "a.png", *PLACE)
    assert result.exit_code == 0, result.output
    for option in (("--latents", tmp_path / "codes.npy"), ("--interpolate", digits / "0.png", digits / "1.png")):
        again = run_inside("ae", "reconstruct", tmp_path / "run", digits / "0.png", "-o", tmp_path / "b.png", *option)
        refused(again, 2, option[0], "unet")


def test_a_set_by_name_and_the_way_between_two_of_its_images(model: Path, tmp_path: Path) -> None:
    between = ("--interpolate", "digits/0", "digits/3", "--latents", tmp_path / "codes.npy")
    words = ("-o", tmp_path / "digits.png", "--limit", 12, *between, *PLACE, "--json")
    result = run_inside("ae", "reconstruct", model, "digits", *words)
    assert result.exit_code == 0, result.output
    items = json.loads(result.stdout)["items"]
    assert [item["input"] for item in items[:2]] == ["digits/0", "digits/1"] and len(items) == 12
    pixels = torch.from_numpy(np.rint(load_digits().images[:12] * (255 / 16))).float().unsqueeze(1) / 255
    assert np.allclose(np.load(tmp_path / "codes.npy"), load_autoencoder(model).module.encode(pixels), atol=1e-4)
    assert len(read_frames(tmp_path / "digits.gif")[0]) == 46


def test_nothing_that_is_read_is_overwritten(model: Path, digits: Path, tmp_path: Path) -> None:
    first, second = digits / "0.png", digits / "1.png"
    before = {path: path.read_bytes() for path in (first, second, model / "model.safetensors")}
    for words in (
        (first, "-o", first),
        (first, "-o", second, "--interpolate", first, second),
        (first, "-o", tmp_path / "sheet.png", "--csv", model / "model.safetensors"),
    ):
        refused(run_inside("ae", "reconstruct", model, *words, "--overwrite", *PLACE), 2, "overwrite an input")
    assert all(path.read_bytes() == content for path, content in before.items())
    refused(run_inside("ae", "reconstruct", model, first, "-o", tmp_path / "sheet.txt", *PLACE), 2, "sheet.txt")


def test_a_set_by_name_is_told_in_one_line(model: Path, tmp_path: Path) -> None:
    words = ("ae", "reconstruct", model, "digits", "--limit", 30, "-o", tmp_path / "sheet.png", *PLACE)
    assert run_inside(*words, "--dry-run").stdout.count("digits") == 1
    result = run_inside(*words)
    assert result.stdout.startswith("mean of 30: mse ")
    assert result.stdout.count("mse") == 1


def test_a_configuration_file_names_two_images_as_a_list(model: Path, digits: Path, tmp_path: Path) -> None:
    ends = [str(digits / "0.png"), str(digits / "1.png")]
    (tmp_path / "own.toml").write_text(f"[ae.reconstruct]\ninterpolate = {json.dumps(ends)}\nframes = 3\n")
    words = ("ae", "reconstruct", model, digits / "0.png", "-o", tmp_path / "a.png", "--config", tmp_path / "own.toml")
    assert run_inside(*words, *PLACE).exit_code == 0
    assert len(read_frames(tmp_path / "a.gif")[0]) == 4
